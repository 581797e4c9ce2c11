#include "cli/arguments.hpp"

#include "base/fail.hpp"

#include <kiln/version.hpp>

#include <CLI/CLI.hpp>

#include <memory>
#include <sstream>

namespace kiln::cli {
namespace {

/// Adds a subcommand whose arguments live as long as the parser; `run` becomes the invocation's
/// command if it is the one named.
template <class Arguments>
Arguments& add_command(CLI::App& app, Invocation& invocation, const char* name, const char* what,
                       ExitCode (*run)(const Common&, const Arguments&), CLI::App*& command) {
  const auto arguments = std::make_shared<Arguments>();
  command = app.add_subcommand(name, what);
  command->callback([&invocation, arguments, run] {
    invocation.command = [arguments, run](const Common& common) { return run(common, *arguments); };
  });
  return *arguments;
}

void add_decode_rows_option(CLI::App& command, std::string& rows) {
  command
      .add_option("--decode-rows", rows, "decode: rows, new tokens times heads of a group, taken at once: 16, 32 or 64")
      ->capture_default_str();
}

/// What a call brings beside batch, lengths and heads.
void add_call_options(CLI::App& command, ShapeWords& shape) {
  command.add_option("--window-left", shape.window_left, "keys seen before the query's own; -1: all");
  command.add_option("--window-right", shape.window_right, "keys seen after it; -1: all");
  command.add_option("--page-size", shape.page_size, "keys of a page, with pages; 16 unless given")
      ->check(CLI::PositiveNumber);
  command.add_option("--splits", shape.splits, "decode: blocks that share a sequence's keys; 0: as balances the batch")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--split-size", shape.split_size, "decode: keys of each such block instead")
      ->check(CLI::NonNegativeNumber);
}

void add_kernel_options(CLI::App& command, KernelWords& words) {
  command.add_option("--kind", words.kind, "forward, decode or merge (of partial results)")->capture_default_str();
  command.add_option("--dtype", words.dtype, "bf16, f16 or f32")->capture_default_str();
  command.add_option("--head-dim", words.head_dim, "128, or 192/128 for q and k / v")->capture_default_str();
  command.add_flag("--causal", words.causal, "a query sees only keys up to its own position");
  command.add_option("--align", words.align, "where the diagonal ends: bottom-right or top-left")
      ->capture_default_str();
  command.add_flag("--window", words.window, "a sliding window, its sides given with each call");
  command.add_option("--fixed-window", words.fixed_window, "a window compiled in: keys left/right of the own, or open");
  command.add_option("--with", words.with,
                     "softcap, alibi, sinks, additive or mask (a bias), ragged, paged, output_f32, allow_tf32");
  add_decode_rows_option(command, words.decode_rows);
  command.add_option("--out-dtype", words.out_dtype, "merge: the result's type; as --dtype, the states', unless given");
}

void add_arch_option(CLI::App& command, std::string& arch) {
  command.add_option("--arch", arch, "compute capabilities: 80,90 or all")->capture_default_str();
}

void add_tile_option(CLI::App& command, std::string& tile) {
  command.add_option("--tile", tile, "instead of the planned: rows x keys, warps, stages, blocks an SM: 128x64,8,2,1");
}

void add_doctor(CLI::App& app, Invocation& invocation) {
  app.add_subcommand("doctor", "Say what this machine has and lacks, and what to do about it")->callback([&invocation] {
    invocation.command = doctor;
  });
}

void add_render(CLI::App& app, Invocation& invocation) {
  CLI::App* command = nullptr;
  auto& arguments = add_command(app, invocation, "render", "Show the CUDA source of a kernel", render, command);
  add_kernel_options(*command, arguments.kernel);
  add_arch_option(*command, arguments.arch);
  add_tile_option(*command, arguments.tile);
  command->add_option("-o,--output", arguments.output, "a folder to write NAME.cu into");
}

void add_compile(CLI::App& app, Invocation& invocation) {
  CLI::App* command = nullptr;
  auto& arguments = add_command(app, invocation, "compile", "Compile kernels, without a GPU, and show what they use",
                                compile, command);
  add_kernel_options(*command, arguments.kernel);
  command->add_flag("--all", arguments.all, "every shipped kernel");
  add_arch_option(*command, arguments.arch);
  add_tile_option(*command, arguments.tile);
  command->add_flag("--strict", arguments.strict, "exit with 1 if a kernel spills or has warnings");
  command->add_option("-o,--output", arguments.output, "a folder for sources, cubins and logs");
  command->add_option("--failed", arguments.failed, "a folder kept of a failed compile: compile its source again");
}

void add_run(CLI::App& app, Invocation& invocation) {
  CLI::App* command = nullptr;
  auto& arguments =
      add_command(app, invocation, "run", "Run a kernel on random data, check it and time it", run, command);
  add_kernel_options(*command, arguments.kernel);
  add_tile_option(*command, arguments.tile);
  ShapeWords& shape = arguments.shape;
  command->add_option("--batch", shape.batch, "sequences")->capture_default_str();
  command->add_option("--len-q", shape.len_q, "queries of each sequence: 1024 or 1k");
  command->add_option("--len-k", shape.len_k, "keys of each sequence; as --len-q, or 4k for decode");
  command->add_option("--heads", shape.heads, "query heads, or query/KV heads: 32/8")->capture_default_str();
  command->add_option("--lengths", shape.lengths,
                      "of decode and ragged kernels: even, or zipf: 1 to --len-k keys, few sequences long");
  add_call_options(*command, shape);
  command->add_option("--states", shape.states, "merge: how many states")->capture_default_str();
  command->add_option("--seed", arguments.seed, "of the random data")->capture_default_str();
  command->add_option("--samples", arguments.samples, "timed calls; 0: only check")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command->add_option("--rows", arguments.rows, "rows of the output to check; 0: only time")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void add_precompile(CLI::App& app, Invocation& invocation) {
  CLI::App* command = nullptr;
  auto& arguments =
      add_command(app, invocation, "precompile",
                  "Make a folder or a pack of kernels for machines that shall not compile", precompile, command);
  command->add_option("manifest", arguments.manifest,
                      "JSON: which kernels for which architectures, or a file of KILN_RECORD; else by options");
  add_kernel_options(*command, arguments.kernel);
  command->add_flag("--all", arguments.all, "every shipped kernel");
  add_arch_option(*command, arguments.arch);
  command->add_option("-o,--output", arguments.output, "for KILN_PRECOMPILED: a folder, or FILE.kilnpack")->required();
}

void add_pack(CLI::App& app, Invocation& invocation) {
  CLI::App* pack_app = app.add_subcommand("pack", "Look after packs: files with many kernels");
  pack_app->require_subcommand(1);
  const auto add = [&](const char* name, const char* what, PackArguments::Action action, const char* packs) {
    CLI::App* command = nullptr;
    auto& arguments = add_command(*pack_app, invocation, name, what, pack, command);
    arguments.action = action;
    command->add_option("packs", arguments.packs, packs)->required();
    return std::pair(command, &arguments);
  };
  add("ls", "List the kernels", PackArguments::Action::ls, "packs");
  add("verify", "Check packs whole; exit with 1 if one is damaged", PackArguments::Action::verify, "packs");
  const auto [merge, merged] = add("merge", "Make one pack of several packs and folders", PackArguments::Action::merge,
                                   "packs and folders; of two builds of one kernel the first is taken");
  merge->add_option("-o,--output", merged->output, "the pack: FILE.kilnpack")->required();
}

void add_tune(CLI::App& app, Invocation& invocation) {
  CLI::App* command = nullptr;
  auto& arguments = add_command(app, invocation, "tune", "Find the fastest tiles for the GPU at hand", tune, command);
  add_kernel_options(*command, arguments.kernel);
  command->add_flag("--all", arguments.all, "every shipped kernel");
  command->add_option("--shape", arguments.shapes, "batch x queries x keys : heads, e.g. 2x1024x4096:32/8; repeatable");
  command->add_option("--window-left", arguments.window_left, "of kernels with a window")->capture_default_str();
  command->add_option("--page-size", arguments.page_size, "of kernels with pages")->capture_default_str();
  command->add_option("--rounds", arguments.rounds, "samples of each candidate on each shape")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--seed", arguments.seed, "of the random data")->capture_default_str();
  command->add_option("-o,--output", arguments.output, "the table to extend, or the folder of sm_XY.json")
      ->default_val(".");
  command->add_flag("--dry-run", arguments.dry_run, "measure and write nothing");
}

void add_bench(CLI::App& app, Invocation& invocation) {
  CLI::App* command = nullptr;
  auto& arguments =
      add_command(app, invocation, "bench", "Measure forward in TFLOP/s, decode and merge in GB/s", bench, command);
  command->add_option("--kind", arguments.kind, "forward, decode, merge or several")->capture_default_str();
  command->add_option("--dtype", arguments.dtype, "bf16, f16 or f32")->capture_default_str();
  command->add_option("--head-dim", arguments.head_dim, "head dims")->capture_default_str();
  command->add_option(
      "--lengths", arguments.lengths,
      "512,1k,… for forward; keys for decode, where zipf:32k are sequences of 1 to 32k, few of them long");
  command->add_option("--mask", arguments.mask, "forward: full, causal or both")->capture_default_str();
  command->add_option("--batch", arguments.batches, "decode and merge: sequences")->capture_default_str();
  command->add_option("--heads", arguments.heads, "decode and merge: query/KV heads")->capture_default_str();
  command->add_option("--len-q", arguments.len_q, "decode and merge: new tokens, which see each other as in a chain")
      ->capture_default_str();
  command->add_option("--with", arguments.with, "softcap, alibi, paged, …: as `kiln run` has it");
  add_decode_rows_option(*command, arguments.decode_rows);
  add_call_options(*command, arguments.call);
  command->add_option("--out-dtype", arguments.out_dtype, "merge: the result's type; as --dtype unless given");
  command->add_option("--states", arguments.call.states, "merge: how many states")->capture_default_str();
  command->add_option("--samples", arguments.samples, "timed calls")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--commit", arguments.commit, "what --json says was measured");
}

void add_cache(CLI::App& app, Invocation& invocation) {
  CLI::App* cache_app = app.add_subcommand("cache", "Look after the folder that kernels are kept in");
  cache_app->require_subcommand(1);
  const auto add = [&](const char* name, const char* what, CacheArguments::Action action) {
    CLI::App* command = nullptr;
    auto& arguments = add_command(*cache_app, invocation, name, what, cache, command);
    arguments.action = action;
    command->add_option("--folder", arguments.folder, "another folder, e.g. a precompiled one");
    return std::pair(command, &arguments);
  };
  add("ls", "List the kernels", CacheArguments::Action::ls);
  add("stat", "Count files and bytes", CacheArguments::Action::stat);
  add("verify", "Read and check every file; exit with 1 if one is damaged", CacheArguments::Action::verify);
  add("clear", "Remove every kernel", CacheArguments::Action::clear);
  const auto [prune, pruned] =
      add("prune", "Remove the kernels used longest ago, and what dead processes left", CacheArguments::Action::prune);
  prune->add_option("--max-bytes", pruned->max_bytes, "keep at most this: 500M, 2G; else cache_max_bytes");
  prune->add_option("--max-files", pruned->max_files, "keep at most so many; else cache_max_files")
      ->check(CLI::Range(0, 1'000'000'000));
  prune->add_option("--older-than", pruned->older_than, "also those unused for so long: 12h, 30d");
  prune->add_flag("--dry-run", pruned->dry_run, "only count");
  const auto [explain, explained] =
      add("explain", "Say in what the keys of two kernels differ", CacheArguments::Action::explain);
  explain->add_option("a", explained->a, "an entry file, or the first digits of a kernel or build id")->required();
  explain->add_option("b", explained->b, "another")->required();
}

void add_global_options(CLI::App& app, GlobalWords& words) {
  app.add_flag("--json", words.json, "print JSON for machines");
  app.add_option("--options", words.options_file, "a JSON file with the library's options");
  app.add_option("--device", words.device, "which GPU");
  app.add_option("--jobs", words.jobs, "compiles at once; 0: as many as cores and memory allow")
      ->check(CLI::Range(0, 1024));
  app.add_option("--cache-dir", words.cache_dir, "where kernels are kept");
  app.add_option("--template-dir", words.template_dir, "kernel templates instead of those built in");
}

/// CLI11's words may run over several lines; an error is one.
std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) c = c == '\n' ? ' ' : c;
  return text;
}

}  // namespace

std::optional<Invocation> parse_arguments(int argc, const char* const* argv) {
  CLI::App app(
      "Kiln: fused attention kernels, built for your GPU when you ask for them.\n"
      "A list with commas stands for every combination.",
      "kiln");
  Invocation invocation;
  app.set_version_flag("--version", std::string("kiln ") + version());
  app.footer("\n" + exit_code_help() +
             "\nKILN_* variables set what the options above leave open; the README lists them.");
  app.require_subcommand(1);
  app.fallthrough();
  add_global_options(app, invocation.global);
  for (const auto add :
       {add_doctor, add_render, add_compile, add_run, add_precompile, add_pack, add_tune, add_bench, add_cache}) {
    add(app, invocation);
  }
  for (CLI::App* command : app.get_subcommands({})) command->fallthrough();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream ignored;
    if (error.get_exit_code() == 0) {
      app.exit(error, out, ignored);
      print(out.str());
      return {};
    }
    base::fail(ErrorCode::invalid_argument, "{} (see kiln --help)", one_line(error.what()));
  }
  return invocation;
}

}  // namespace kiln::cli
