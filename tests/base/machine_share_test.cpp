#include "base/machine_share.hpp"

#include "support/temp_folder.hpp"

#include <gtest/gtest.h>

namespace kiln::base {
namespace {

constexpr std::uint64_t kMegabyte = 1 << 20;

TEST(MachineShare, ReadsMemAvailable) {
  EXPECT_EQ(available_bytes("MemTotal:  9 kB\nMemFree:   1 kB\nMemAvailable:   2048 kB\nCached: 7 kB\n"),
            2 * kMegabyte);
  EXPECT_FALSE(available_bytes("MemTotal: 9 kB\n"));  // Linux before 3.14
  EXPECT_FALSE(available_bytes("MemAvailable: lots kB\n"));
  EXPECT_FALSE(available_bytes(""));
}

TEST(MachineShare, FindsTheGroupsOfBothVersions) {
  constexpr std::string_view kBoth = "4:memory:/a\n3:cpu,cpuacct:/b:c\nnonsense\n1:name=systemd:/d\n0::/e\n";
  EXPECT_EQ(cgroup_path(kBoth, "memory"), "/a");
  EXPECT_EQ(cgroup_path(kBoth, "cpu"), "/b:c");
  EXPECT_EQ(cgroup_path(kBoth, "cpuacct"), "/b:c");
  EXPECT_EQ(cgroup_path(kBoth, ""), "/e");
  EXPECT_FALSE(cgroup_path(kBoth, "cp"));
  EXPECT_FALSE(cgroup_path("", ""));
}

TEST(MachineShare, RoundsAQuotaUpAndKnowsNone) {
  EXPECT_EQ(quota_cores("200000", "100000\n"), 2);
  EXPECT_EQ(quota_cores("150000", "100000"), 2);
  EXPECT_EQ(quota_cores("1000", "100000"), 1);
  EXPECT_FALSE(quota_cores("max", "100000"));
  EXPECT_FALSE(quota_cores("-1", "100000"));
  EXPECT_FALSE(quota_cores("", ""));
  EXPECT_FALSE(quota_cores("1000", "0"));
}

TEST(MachineShare, AGroupLeavesItsLimitLessWhatItHolds) {
  EXPECT_EQ(group_free_bytes("1000", "300\n", "", "inactive_file"), 700U);
  EXPECT_EQ(group_free_bytes("1000", "300", "anon 5\ninactive_file 200\nactive_file 9\n", "inactive_file"), 900U);
  EXPECT_EQ(group_free_bytes("1000", "1200", "", "inactive_file"), 0U);
  EXPECT_EQ(group_free_bytes("1000", "300", "inactive_file 9999\n", "inactive_file"), 1000U);
  EXPECT_FALSE(group_free_bytes("max\n", "300", "", "inactive_file"));
  EXPECT_FALSE(group_free_bytes("1000", "", "", "inactive_file"));
}

class MachineShareFiles : public testing::Test {
 protected:
  [[nodiscard]] MachineShare share(int cores = 64) const {
    return machine_share({.proc = folder_.path() / "proc", .cgroup = folder_.path() / "cgroup", .cores = cores});
  }
  void write(const char* name, std::string_view text) const { folder_.write(name, text); }

 private:
  test::TempFolder folder_;
};

TEST_F(MachineShareFiles, TakesTheLeastOfEveryLevelOfVersion2) {
  write("proc/meminfo", "MemAvailable: 8388608 kB\n");
  write("proc/self/cgroup", "0::/pod/box\n");
  EXPECT_EQ(share().cores, 64);
  EXPECT_EQ(share().free_bytes, 8192 * kMegabyte);
  write("cgroup/pod/box/cpu.max", "max 100000\n");
  write("cgroup/pod/cpu.max", "400000 100000\n");
  EXPECT_EQ(share().cores, 4);
  EXPECT_EQ(share(2).cores, 2);
  write("cgroup/pod/box/memory.max", "2147483648\n");
  write("cgroup/pod/box/memory.current", "1073741824\n");
  EXPECT_EQ(share().free_bytes, 1024 * kMegabyte);
  write("cgroup/pod/memory.max", "1610612736\n");
  write("cgroup/pod/memory.current", "1073741824\n");
  EXPECT_EQ(share().free_bytes, 512 * kMegabyte);
}

TEST_F(MachineShareFiles, InAContainerTheRootIsItsOwnGroup) {
  write("proc/meminfo", "MemAvailable: 8388608 kB\n");
  write("proc/self/cgroup", "5:memory:/docker/0123\n4:cpu,cpuacct:/docker/0123\n");
  write("cgroup/memory/memory.limit_in_bytes", "1073741824");
  write("cgroup/memory/memory.usage_in_bytes", "805306368");
  write("cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 268435456\n");
  write("cgroup/cpu/cpu.cfs_quota_us", "300000");
  write("cgroup/cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(share().free_bytes, 512 * kMegabyte);
  EXPECT_EQ(share().cores, 3);
}

TEST_F(MachineShareFiles, WhatCantBeReadDoesNotLimit) {
  EXPECT_EQ(share(3).cores, 3);
  EXPECT_GT(share().free_bytes, std::uint64_t{1} << 60U);
  write("proc/self/cgroup", "0::/../../outside\n");
  EXPECT_EQ(share(3).cores, 3);
}

TEST(MachineShare, OfThisMachineIsSomething) {
  EXPECT_GE(machine_share().cores, 1);
  EXPECT_GT(machine_share().free_bytes, kMegabyte);
}

}  // namespace
}  // namespace kiln::base
