# SPDX-License-Identifier: Apache-2.0
# Run by weir_embed (src/cli/sources.cmake's neighbour in src/CMakeLists.txt): writes files as C arrays.
# OUT: the C file; FILES: "symbol=path", separated by blanks.
separate_arguments(FILES)
# A section of their own: a page of files among the constants of others would come along with them.
set(TEXT "// Made by cmake/weir_embed.cmake.\n#include <stddef.h>\n")
foreach(entry ${FILES})
  string(REGEX MATCH "^([^=]+)=(.*)$" _ "${entry}")
  set(symbol ${CMAKE_MATCH_1})
  file(READ "${CMAKE_MATCH_2}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND TEXT "extern const unsigned char ${symbol}[];\nextern const size_t ${symbol}_len;\n"
    "__attribute__((section(\"weir_files\"))) const unsigned char ${symbol}[] = {${bytes}};\nconst size_t ${symbol}_len = sizeof ${symbol};\n")
endforeach()
file(WRITE "${OUT}" "${TEXT}")
