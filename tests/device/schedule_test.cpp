#include "device/split_plan.cuh"
#include "device/tile_schedule.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

namespace kiln::device {
namespace {

TEST(ForwardSchedule, GivesEveryTileToOneBlock) {
  for (const i32 len_k : {0, 100, 20000, 400000}) {
    for (const i32 group : {1, 3, 8}) {
      const auto schedule = forward_schedule(3, 5 * group, 5, 700, len_k, 128, 128, 64);
      ASSERT_EQ(schedule.blocks(), 3 * 5 * group * 6);
      for (const bool heavy_first : {false, true}) {
        std::set<std::tuple<i32, i32, i32>> seen;
        for (u32 block = 0; block < schedule.blocks(); ++block) {
          const ForwardTile tile = schedule.tile_of(block, heavy_first);
          ASSERT_TRUE(tile.m_tile >= 0 && tile.m_tile < 6 && tile.head >= 0 && tile.head < 5 * group &&
                      tile.batch >= 0 && tile.batch < 3);
          seen.insert({tile.m_tile, tile.head, tile.batch});
        }
        EXPECT_EQ(std::ssize(seen), schedule.blocks());
      }
    }
  }
}

TEST(ForwardSchedule, StartsHeavyTilesFirstInABundle) {
  const auto schedule = forward_schedule(2, 8, 8, 4096, 4096, 128, 128, 128);
  const u32 row = static_cast<u32>(schedule.bundle * schedule.group);
  ASSERT_GT(schedule.bundle, 1);
  for (u32 i = 1; i < 32; ++i) {
    EXPECT_EQ(schedule.tile_of(i * row, true).m_tile, schedule.tile_of((i - 1) * row, true).m_tile - 1);
  }
  EXPECT_EQ(schedule.tile_of(0, true).m_tile, 31);
  EXPECT_EQ(schedule.tile_of(0, false).m_tile, 0);
}

TEST(ForwardSchedule, HeadsOfAGroupAreNeighbours) {
  const auto schedule = forward_schedule(1, 12, 3, 128, 128, 128, 128, 128);
  for (u32 block = 0; block < 12; ++block) EXPECT_EQ(schedule.tile_of(block, true).head, static_cast<i32>(block));
}

TEST(ForwardSchedule, ABundleFitsTheCacheUnlessOneStreamDoesNot) {
  const auto fits = forward_schedule(64, 64, 64, 128, 8192, 128, 128, 128);
  EXPECT_LE(i64{fits.bundle} * 8192 * 512, kBundleBytes);
  EXPECT_EQ(forward_schedule(64, 64, 64, 128, 1 << 20, 128, 128, 128).bundle, 1);
}

TEST(ForwardSchedule, NoQueriesOrNoSequencesMeanNoBlocks) {
  EXPECT_EQ(forward_schedule(2, 4, 4, 0, 100, 128, 64, 64).blocks(), 0);
  EXPECT_EQ(forward_schedule(0, 4, 4, 100, 100, 128, 64, 64).blocks(), 0);
}

TEST(DecodeSchedule, GivesEveryTileToOneBlock) {
  const auto schedule = decode_schedule(3, 40, 2, 5);
  EXPECT_EQ(schedule.row_tiles, 2);  // 20 heads of one KV head are 16 + 4
  ASSERT_EQ(schedule.blocks(), 2 * 2 * 5 * 3);
  std::set<std::tuple<i32, i32, i32, i32>> seen;
  for (u32 block = 0; block < schedule.blocks(); ++block) {
    const DecodeTile tile = schedule.tile_of(block);
    ASSERT_TRUE(tile.row_tile < 2 && tile.kv_head < 2 && tile.split < 5 && tile.batch < 3);
    seen.insert({tile.row_tile, tile.kv_head, tile.split, tile.batch});
  }
  EXPECT_EQ(std::ssize(seen), schedule.blocks());
}

TEST(SplitPlan, SharesAreWholeBalancedAndInOrder) {
  for (i32 end = 0; end < 300; end += 7) {
    for (i32 begin = 0; begin <= end; begin += 31) {
      for (const i32 splits : {1, 2, 3, 8, 33}) {
        const SplitPlan plan = plan_splits({begin, end}, 16, splits);
        ASSERT_GE(plan.working, 1);
        ASSERT_LE(plan.working, splits);
        i32 next = begin / 16;
        i32 shortest = 1 << 20;
        i32 longest = 0;
        for (i32 s = 0; s < plan.working; ++s) {
          const TileSpan share = plan.share(s);
          ASSERT_EQ(share.begin, next);
          next = share.end;
          shortest = std::min(shortest, share.end - share.begin);
          longest = std::max(longest, share.end - share.begin);
        }
        const i32 last = begin < end ? ceil_div(end, 16) : begin / 16;
        ASSERT_EQ(next, last) << "keys " << begin << " … " << end;
        ASSERT_LE(longest - shortest, 1);
        if (begin < end) {
          ASSERT_GE(shortest, 1) << "a working split without work";
        }
      }
    }
  }
}

TEST(SplitPlan, LargestNumbersDoNotOverflow) {
  const SplitPlan plan = plan_splits({0, kMaxLength}, 16, 1 << 20);
  EXPECT_EQ(plan.share((1 << 20) - 1).end, kMaxLength / 16);
}

}  // namespace
}  // namespace kiln::device
