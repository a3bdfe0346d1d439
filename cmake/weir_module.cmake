# SPDX-License-Identifier: Apache-2.0
# The rooms of the house. weir_module declares a folder of src/ as a library and names the
# folders it may see. A folder's headers are reachable only through a directory of links made
# for it alone, so an include that points up, or sideways, does not compile.

set(WEIR_ROOMS ${CMAKE_BINARY_DIR}/rooms)

function(weir_module NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;SEES;USES" ${ARGN})
  file(MAKE_DIRECTORY ${WEIR_ROOMS}/${NAME})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${NAME} ${WEIR_ROOMS}/${NAME}/${NAME} SYMBOLIC)
  list(TRANSFORM ARG_SOURCES PREPEND ${CMAKE_SOURCE_DIR}/src/${NAME}/)
  add_library(weir_${NAME} STATIC ${ARG_SOURCES})
  # -iquote, so that "sys/socket.h" is ours and <sys/socket.h> stays the system's.
  target_compile_options(weir_${NAME} PUBLIC "SHELL:-iquote ${WEIR_ROOMS}/${NAME}")
  list(TRANSFORM ARG_SEES PREPEND weir_)
  target_link_libraries(weir_${NAME} PUBLIC ${ARG_SEES} ${ARG_USES} PRIVATE weir_flags)
endfunction()

# weir_unit_test(base/test_map MODULES base): one cmocka program, one ctest entry. NAME when it is not
# called like its file.
function(weir_unit_test PATH)
  cmake_parse_arguments(ARG "" "NAME" "MODULES;USES" ${ARGN})
  if(NOT ARG_NAME)
    set(ARG_NAME ${PATH})
  endif()
  string(REPLACE "/" "_" TARGET unit_${ARG_NAME})
  add_executable(${TARGET} ${CMAKE_CURRENT_SOURCE_DIR}/${PATH}.c)
  list(TRANSFORM ARG_MODULES PREPEND weir_)
  target_link_libraries(${TARGET} PRIVATE ${ARG_MODULES} ${ARG_USES} PkgConfig::CMOCKA weir_flags)
  target_compile_definitions(${TARGET} PRIVATE WEIR_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(${TARGET} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME unit/${ARG_NAME} COMMAND ${TARGET})
endfunction()

# weir_fuzz_target(json MODULES proto): libFuzzer with -DWEIR_FUZZ=ON, otherwise a program that
# replays tests/fuzz/corpus/<name> and is a ctest entry.
function(weir_fuzz_target NAME)
  cmake_parse_arguments(ARG "" "" "MODULES;USES" ${ARGN})
  list(TRANSFORM ARG_MODULES PREPEND weir_)
  add_executable(fuzz_${NAME} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_${NAME}.c)
  target_link_libraries(fuzz_${NAME} PRIVATE ${ARG_MODULES} ${ARG_USES} weir_flags)
  set_target_properties(fuzz_${NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_options(fuzz_${NAME} PRIVATE -Wno-missing-prototypes)
  if(WEIR_FUZZ)
    target_compile_options(fuzz_${NAME} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${NAME} PRIVATE -fsanitize=fuzzer)
    return()
  endif()
  target_sources(fuzz_${NAME} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/replay_main.c)
  add_test(NAME fuzz/${NAME} COMMAND fuzz_${NAME} ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${NAME})
endfunction()
