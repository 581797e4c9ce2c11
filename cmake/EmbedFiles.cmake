# Run by kiln_embed: reads the names in ${OUTPUT}.list and writes ${OUTPUT}, one raw string literal per file.
file(STRINGS ${OUTPUT}.list files)
list(LENGTH files count)

set(entries "")
foreach(file IN LISTS files)
  # Every use of ${content} is quoted: unquoted, CMake would take its semicolons for list separators.
  file(READ ${ROOT}/${file} content)
  string(FIND "${content}" ")kiln_text\"" clash)
  if(NOT clash EQUAL -1)
    message(FATAL_ERROR "${ROOT}/${file} contains )kiln_text\", which ends the literal that it is embedded as")
  endif()
  string(APPEND entries "      {\"${file}\", R\"kiln_text(${content})kiln_text\"},\n")
endforeach()

file(WRITE ${OUTPUT} "#include \"base/embedded.hpp\"

#include <array>

namespace kiln::embedded {

std::span<const EmbeddedFile> ${SYMBOL}();

std::span<const EmbeddedFile> ${SYMBOL}() {
  static constexpr std::array<EmbeddedFile, ${count}> kFiles = {{
${entries}  }};
  return kFiles;
}

}  // namespace kiln::embedded
")
