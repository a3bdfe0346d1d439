# SPDX-License-Identifier: Apache-2.0
# Options, the flags every target shares, and the libraries weir is built on.

option(WEIR_TESTS "build unit tests and fuzz targets" OFF)
option(WEIR_BENCH "build the load generators" OFF)
option(WEIR_FAULTS "compile the fault-injection seams in (never in a release)" OFF)
option(WEIR_FUZZ "link fuzz targets with libFuzzer (needs clang)" OFF)
option(WEIR_COVERAGE "instrument for gcov" OFF)
set(WEIR_SANITIZE "" CACHE STRING "value for -fsanitize=, empty for none")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(WEIR_CCACHE ccache)
if(WEIR_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${WEIR_CCACHE})
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.88)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.13)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2>=1.52)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis>=0.14)
# Their headers: the libraries are loaded when they are needed (src/sql, src/conf).
pkg_check_modules(SQLITE REQUIRED sqlite3>=3.40)
pkg_check_modules(POSTGRES REQUIRED libpq>=15)
pkg_check_modules(YAML REQUIRED yaml-0.1>=0.2.5)
pkg_check_modules(SECCOMP REQUIRED libseccomp>=2.5) # its header; the library is loaded when it is needed
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib>=1.2.13)
if(WEIR_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

# llhttp comes as C sources from Debian's node-llhttp; it is compiled in strict mode.
set(LLHTTP_DIR /usr/share/llhttp CACHE PATH "where Debian's node-llhttp keeps its C sources")
if(NOT EXISTS ${LLHTTP_DIR}/llhttp.c)
  message(FATAL_ERROR "${LLHTTP_DIR}/llhttp.c is missing: install the Debian package node-llhttp")
endif()
add_library(llhttp STATIC ${LLHTTP_DIR}/llhttp.c ${LLHTTP_DIR}/api.c ${LLHTTP_DIR}/http.c)
find_path(LLHTTP_INCLUDE llhttp.h PATHS /usr/share/include/llhttp REQUIRED)
target_include_directories(llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE})
target_compile_definitions(llhttp PUBLIC LLHTTP_STRICT_MODE=1)
target_compile_options(llhttp PRIVATE -O2 -w)

# The agent protocol's messages as C, from the .proto files and Google's own (libprotobuf-dev).
find_program(WEIR_PROTOC_C protoc-c REQUIRED)
set(PROTO_OUT ${CMAKE_BINARY_DIR}/protobuf)
set(PROTO_FILES rstrm google/protobuf/timestamp google/protobuf/wrappers)
list(TRANSFORM PROTO_FILES PREPEND ${PROTO_OUT}/ OUTPUT_VARIABLE PROTO_SOURCES)
list(TRANSFORM PROTO_SOURCES APPEND .pb-c.c)
list(TRANSFORM PROTO_SOURCES REPLACE "\\.c$" ".h" OUTPUT_VARIABLE PROTO_HEADERS)
file(MAKE_DIRECTORY ${PROTO_OUT})
add_custom_command(
  OUTPUT ${PROTO_SOURCES} ${PROTO_HEADERS}
  COMMAND ${WEIR_PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/src/proto --proto_path=/usr/include
    --c_out=${PROTO_OUT} rstrm.proto google/protobuf/timestamp.proto google/protobuf/wrappers.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/src/proto/rstrm.proto VERBATIM)
add_library(rstrm_messages STATIC ${PROTO_SOURCES})
target_include_directories(rstrm_messages SYSTEM PUBLIC ${PROTO_OUT})
target_compile_options(rstrm_messages PRIVATE -O2 -w)
target_link_libraries(rstrm_messages PUBLIC PkgConfig::PROTOBUF_C)

add_library(weir_flags INTERFACE)
target_compile_options(weir_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wswitch-enum -Wvla -Wformat=2
  -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wimplicit-fallthrough -Werror
  -fstack-protector-strong -fno-strict-overflow)
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE WEIR_VERSION="${PROJECT_VERSION}")
if(WEIR_FAULTS)
  target_compile_definitions(weir_flags INTERFACE WEIR_FAULTS=1)
else()
  target_compile_definitions(weir_flags INTERFACE WEIR_FAULTS=0)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(weir_flags INTERFACE
    -D_FORTIFY_SOURCE=3 -fstack-clash-protection -fcf-protection=full)
  target_link_options(weir_flags INTERFACE
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie> -Wl,-z,relro,-z,now,-z,pack-relative-relocs)
endif()
if(WEIR_SANITIZE)
  target_compile_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE} -fno-omit-frame-pointer -O1)
  target_link_options(weir_flags INTERFACE -fsanitize=${WEIR_SANITIZE})
  if(WEIR_SANITIZE MATCHES "undefined")
    target_compile_options(weir_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
if(WEIR_FUZZ)
  target_compile_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(WEIR_COVERAGE)
  target_compile_options(weir_flags INTERFACE --coverage)
  target_compile_definitions(weir_flags INTERFACE WEIR_COVERAGE=1)
  target_link_options(weir_flags INTERFACE --coverage)
endif()
