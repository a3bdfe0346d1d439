# SPDX-License-Identifier: Apache-2.0
# libweir-agent for other programs: a shared object and an archive that show the functions of
# <weir/agent.h> and nothing else of the house, the header, a pkg-config file, and the examples.

set(AGENT_DIR ${CMAKE_SOURCE_DIR}/src/agent)
set(AGENT_MAP ${AGENT_DIR}/exports.map)

add_library(weir_agent_shared SHARED ${AGENT_DIR}/include/weir/agent.h)
set_target_properties(weir_agent_shared PROPERTIES
  LINKER_LANGUAGE C OUTPUT_NAME weir-agent SOVERSION 0 VERSION 0.${PROJECT_VERSION_MINOR}
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib LINK_DEPENDS ${AGENT_MAP})
target_link_libraries(weir_agent_shared PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,weir_agent> weir_flags)
target_link_options(weir_agent_shared PRIVATE
  -Wl,--version-script=${AGENT_MAP} -Wl,--as-needed)
target_include_directories(weir_agent_shared INTERFACE ${AGENT_DIR}/include)

# One object with the rooms it needs, whose inner names nobody can see or clash with.
set(AGENT_ARCHIVE ${CMAKE_BINARY_DIR}/lib/libweir-agent.a)
set(AGENT_ROOMS weir_stream weir_auth weir_loop weir_obs weir_sys weir_proto weir_base llhttp
  rstrm_messages)
set(AGENT_ROOM_FILES ${AGENT_ROOMS})
list(TRANSFORM AGENT_ROOM_FILES REPLACE "(.+)" "$<TARGET_FILE:\\1>")
add_custom_command(
  OUTPUT ${AGENT_ARCHIVE}
  COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o agent-rooms.o
    -Wl,--whole-archive $<TARGET_FILE:weir_agent> -Wl,--no-whole-archive
    -Wl,--start-group ${AGENT_ROOM_FILES} -Wl,--end-group
  COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=weir_agent_*
    --keep-global-symbol=weir_tunnel_* --keep-global-symbol=weir_stream_*
    --keep-global-symbol=!weir_agent_loop_embed --keep-global-symbol=!weir_agent_loop_worker
    agent-rooms.o
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/lib
  COMMAND ${CMAKE_AR} rcs ${AGENT_ARCHIVE} agent-rooms.o
  DEPENDS weir_agent ${AGENT_ROOMS} VERBATIM)
add_custom_target(weir_agent_archive ALL DEPENDS ${AGENT_ARCHIVE})

configure_file(${AGENT_DIR}/weir-agent.pc.in ${CMAKE_BINARY_DIR}/lib/weir-agent.pc @ONLY)

install(TARGETS weir_agent_shared LIBRARY DESTINATION lib COMPONENT library)
install(FILES ${AGENT_ARCHIVE} DESTINATION lib COMPONENT library)
install(FILES ${AGENT_DIR}/include/weir/agent.h DESTINATION include/weir COMPONENT library)
install(FILES ${CMAKE_BINARY_DIR}/lib/weir-agent.pc DESTINATION lib/pkgconfig COMPONENT library)
