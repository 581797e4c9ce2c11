#include "base/fork_guard.hpp"

#include "support/child.hpp"

#include <gtest/gtest.h>

namespace kiln::base {
namespace {

TEST(ForkGuard, KnowsTheChildAndTheChildsChild) {
  const ForkGuard parents;
  EXPECT_FALSE(parents.forked());
  EXPECT_EQ(test::in_child([&] {
              const ForkGuard childs;
              if (!parents.forked() || childs.forked()) return 1;
              return test::in_child([&] { return parents.forked() && childs.forked() ? 7 : 2; });
            }),
            7);
  EXPECT_FALSE(parents.forked());
}

}  // namespace
}  // namespace kiln::base
