#pragma once

#include <cstdio>
#include <exception>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace kiln::test {

/// Forks, runs `work` in the child and gives what it returned; a negative number is the signal that ended the child,
/// -14 one that hung. The child leaves without exit handlers, unless `work` calls exit().
template <class Work>
int in_child(Work&& work) {
  constexpr unsigned kPatienceSeconds = 30;
  constexpr int kThrew = 99;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(kPatienceSeconds);
    try {
      ::_exit(std::forward<Work>(work)());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
      ::_exit(kThrew);
    }
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return kThrew + 1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace kiln::test
