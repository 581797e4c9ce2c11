# kiln_embed_pack(<target> <symbol> <file>) builds a pack of kernels into a target. Its sources then have
#
#   extern "C" const std::byte <symbol>[], <symbol>_end[];
#
# to be given to kiln::Options::packs, or in C to kiln_options_add_pack().
function(kiln_embed_pack target symbol file)
  cmake_path(ABSOLUTE_PATH file NORMALIZE)
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  if("CXX" IN_LIST languages)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.kilnpack.cpp)
  else()
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.kilnpack.c)
  endif()
  # The assembler reads the file: a compiler would take long over megabytes of numbers.
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
__asm__(
    ".section .rodata\n"
    ".balign 64\n"
    ".global @symbol@, @symbol@_end\n"
    ".type @symbol@, %object\n"
    ".type @symbol@_end, %object\n"
    "@symbol@:\n"
    ".incbin \"@file@\"\n"
    "@symbol@_end:\n"
    ".byte 0\n"
    ".size @symbol@, @symbol@_end - @symbol@\n"
    ".previous\n");
]])
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${file} SKIP_UNITY_BUILD_INCLUSION ON
    SKIP_PRECOMPILE_HEADERS ON)
  target_sources(${target} PRIVATE ${source})
endfunction()
