#include "device/mask.cuh"
#include "device/tile_schedule.cuh"

#include <climits>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

namespace kiln::device {
namespace {

ForwardSchedule schedule_of(i32 batch, i32 heads_q, i32 heads_kv, i32 len_q, i32 len_k) {
  return forward_schedule(
      {.batch = batch, .heads_q = heads_q, .heads_kv = heads_kv, .len_q = len_q, .len_k = len_k, .key_bytes = 512},
      128);
}

TEST(ForwardSchedule, GivesEveryTileToOneBlock) {
  for (const i32 len_k : {0, 100, 20000, 400000}) {
    for (const i32 group : {1, 3, 8}) {
      for (const i32 pack : {1, group}) {
        auto schedule = schedule_of(3, 5 * group, 5, 700, len_k);
        schedule.row_tiles = ceil_div(700 * pack, 128);
        schedule.group = group / pack;
        schedule.pack = pack;
        for (const bool heavy_first : {false, true}) {
          std::set<std::tuple<i32, i32, i32>> seen;
          for (u32 block = 0; block < schedule.blocks(); ++block) {
            const ForwardTile tile = schedule.tile_of(block, heavy_first);
            ASSERT_TRUE(tile.row_tile >= 0 && tile.row_tile < schedule.row_tiles && tile.head >= 0 &&
                        tile.head < 5 * group && tile.head % pack == 0 && tile.batch >= 0 && tile.batch < 3);
            seen.insert({tile.row_tile, tile.head, tile.batch});
          }
          EXPECT_EQ(std::ssize(seen), 3 * 5 * (group / pack) * schedule.row_tiles);
        }
      }
    }
  }
}

TEST(ForwardSchedule, PacksTheHeadsOfAGroup) {
  const auto schedule = schedule_of(2, 12, 3, 100, 128);
  EXPECT_EQ(schedule.pack, 4);
  EXPECT_EQ(schedule.row_tiles, 4);  // 400 rows
  EXPECT_EQ(schedule.blocks(), 2 * 3 * 4);
}

TEST(ForwardSchedule, RowsOfPackedHeadsDivideExactly) {
  for (const i32 group : {1, 2, 3, 5, 7, 12, 64, 71}) {
    const HeadPack heads = pack_heads(group, 1000);
    ASSERT_EQ(heads.count, static_cast<u32>(group));
    for (i32 row = 0; row < 1000 * group; ++row) ASSERT_EQ(query_of_row(heads, row), row / group);
  }
  for (const i32 group : {1, 3, 7, 71}) {
    const i32 most = ((INT_MAX / group) / group) * group - 1;  // the last row of the longest queries that are packed
    for (i32 row = most; row > most - 200; --row) {
      ASSERT_EQ(query_of_row(head_pack(group), std::min(row, kMaxLength - 1)), std::min(row, kMaxLength - 1) / group);
    }
  }
}

TEST(ForwardSchedule, TooLongQueriesAreNotPacked) {
  EXPECT_EQ(pack_heads(8, INT_MAX / 64).count, 8U);
  EXPECT_EQ(pack_heads(8, INT_MAX / 64 + 1).count, 1U);
  EXPECT_EQ(query_of_row(pack_heads(8, kMaxLength), kMaxLength - 1), kMaxLength - 1);
}

TEST(ForwardSchedule, RaggedSequencesHaveRoomForAllTheirTiles) {
  ForwardShape shape{.batch = 4,
                     .heads_q = 4,
                     .heads_kv = 2,
                     .len_q = 1000,
                     .len_k = 1000,
                     .ragged = true,
                     .total_q = 1100,
                     .key_bytes = 512};
  EXPECT_EQ(forward_schedule(shape, 128).row_tiles, 1100 * 2 / 128 + 4);
  EXPECT_EQ(forward_schedule(shape, 128).blocks(), (1100 * 2 / 128 + 4) * 2);
  shape.len_q = 1;
  EXPECT_EQ(forward_schedule(shape, 128).row_tiles, 4) << "no more than a tile for each";
}

TEST(ForwardSchedule, StartsHeavyTilesFirstInABundle) {
  const auto schedule = schedule_of(2, 8, 8, 4096, 4096);
  const u32 row = static_cast<u32>(schedule.bundle * schedule.group);
  ASSERT_GT(schedule.bundle, 1);
  for (u32 i = 1; i < 32; ++i) {
    EXPECT_EQ(schedule.tile_of(i * row, true).row_tile, schedule.tile_of((i - 1) * row, true).row_tile - 1);
  }
  EXPECT_EQ(schedule.tile_of(0, true).row_tile, 31);
  EXPECT_EQ(schedule.tile_of(0, false).row_tile, 0);
}

TEST(ForwardSchedule, HeadsOfAGroupAreNeighbours) {
  auto schedule = schedule_of(1, 12, 3, 128, 128);
  schedule.row_tiles = 1;
  schedule.group = 4;  // as if they were not packed
  schedule.pack = 1;
  for (u32 block = 0; block < 12; ++block) EXPECT_EQ(schedule.tile_of(block, true).head, static_cast<i32>(block));
}

TEST(ForwardSchedule, ABundleFitsTheCacheUnlessOneStreamDoesNot) {
  const auto fits = schedule_of(64, 64, 64, 128, 8192);
  EXPECT_LE(i64{fits.bundle} * 8192 * 512, kBundleBytes);
  EXPECT_EQ(schedule_of(64, 64, 64, 128, 1 << 20).bundle, 1);
}

TEST(ForwardSchedule, NoQueriesOrNoSequencesMeanNoBlocks) {
  EXPECT_EQ(schedule_of(2, 4, 4, 0, 100).blocks(), 0);
  EXPECT_EQ(schedule_of(0, 4, 4, 100, 100).blocks(), 0);
}

}  // namespace
}  // namespace kiln::device
