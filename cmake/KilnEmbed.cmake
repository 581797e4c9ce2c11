# Puts text files into a C++ table, so that a deployed Kiln needs no files of its own.
#
#   kiln_embed(<target> <symbol> <root> <pattern>...)
#
# defines `std::span<const EmbeddedFile> kiln::embedded::<symbol>()` (base/embedded.hpp) over every file
# under <root> that matches a pattern, named relative to <root> and sorted, and adds it to the target.
function(kiln_embed target symbol root)
  list(TRANSFORM ARGN PREPEND ${root}/ OUTPUT_VARIABLE patterns)
  set(files "")
  if(patterns)
    file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE ${root} ${patterns})
  endif()
  # The names go through a file, so that a file that is removed also makes the table anew.
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/embedded_${symbol}.cpp)
  string(JOIN "\n" names ${files})
  file(CONFIGURE OUTPUT ${generated}.list CONTENT "${names}" @ONLY)

  list(TRANSFORM files PREPEND ${root}/)
  set(script ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/EmbedFiles.cmake)
  add_custom_command(
    OUTPUT ${generated}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${generated} -DSYMBOL=${symbol} -DROOT=${root} -P ${script}
    DEPENDS ${files} ${generated}.list ${script}
    COMMENT "Embedding ${symbol}"
    VERBATIM)
  target_sources(${target} PRIVATE ${generated})
endfunction()
