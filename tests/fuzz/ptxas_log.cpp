// What ptxas says of a kernel, and what is shown of a failed compile: no number is negative, no text grows.
#include "fuzz/fuzz.hpp"
#include "jit/compiler.hpp"
#include "jit/log_text.hpp"

std::vector<std::string> kiln::fuzz::seeds() {
  return {
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'kern' for 'sm_90'\n"
      "ptxas info    : Function properties for kern\n"
      "ptxas         .     400 bytes stack frame, 296 bytes spill stores, 304 bytes spill loads\n"
      "ptxas info    : Used 64 registers, used 1 barriers, 400 bytes cumulative stack size, 4096 bytes smem\n"
      "ptxas         .     8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\n"
      "ptxas info    : Compiling entry function 'other' for 'sm_90'\r\n",
      "kern.cu(2): error: identifier \"nope\" is undefined\n  p[0] = nope;\n         ^\n"
      "kern.cu(7): warning #177-D: variable \"x\" was declared but never referenced\n"
      "ptxas error   : Entry function 'kern' uses too much shared data\n"
      "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kiln;
  const std::string_view log = fuzz::as_text(data, size);
  const jit::Resources found = jit::parse_log(log, "kern");
  fuzz::require(found.registers >= 0 && found.stack_bytes >= 0 && found.static_smem_bytes >= 0, "sizes are no debts");
  fuzz::require(found.spill_store_bytes >= 0 && found.spill_load_bytes >= 0, "spills are no debts");
  fuzz::require(found.spill_bytes() >= found.spill_store_bytes, "their sum is none either");
  for (const std::string& warning : found.warnings) {
    fuzz::require(log.find(warning) != std::string_view::npos, "a warning stands in the log");
  }
  fuzz::require(jit::first_errors(log).size() <= 2000, "what is shown is short");
  return 0;
}
