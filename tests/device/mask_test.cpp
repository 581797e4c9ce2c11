#include "device/mask.cuh"

#include <climits>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

namespace kiln::device {
namespace {

struct Geometry {
  MaskKind kind;
  i32 len_q;
  i32 len_k;
  i32 left;
  i32 right;

  [[nodiscard]] Band band() const { return make_band(kind, len_q, len_k, left, right); }

  /// Straight from the definition.
  [[nodiscard]] bool sees(i64 i, i64 j) const {
    const i64 at = i + (kind.align_top_left ? 0 : i64{len_k} - len_q);
    if (j < 0 || j >= len_k) return false;
    if (kind.causal && j > at) return false;
    if (kind.window && left >= 0 && j < at - left) return false;
    return !kind.window || right < 0 || j <= at + right;
  }

  [[nodiscard]] std::string text() const {
    return "causal " + std::to_string(kind.causal) + " top_left " + std::to_string(kind.align_top_left) + " window " +
           std::to_string(kind.window) + " len_q " + std::to_string(len_q) + " len_k " + std::to_string(len_k) +
           " left " + std::to_string(left) + " right " + std::to_string(right);
  }
};

/// Every kind of mask with lengths and window sides drawn from a fixed seed.
class AllKinds : public ::testing::TestWithParam<int> {
 protected:
  template <class Check>
  void for_geometries(Check check) const {
    const int bits = GetParam();
    std::mt19937 random(static_cast<unsigned>(bits));
    const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
    for (int i = 0; i < 200; ++i) {
      const Geometry g{
          {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0}, draw(1, 60), draw(0, 60), draw(-1, 30), draw(-1, 30)};
      SCOPED_TRACE(g.text());
      ASSERT_NO_FATAL_FAILURE(check(g));
    }
  }
};

TEST_P(AllKinds, RowRangesAreTheDefinition) {
  for_geometries([](const Geometry& g) {
    for (i32 i = 0; i < g.len_q; ++i) {
      const KeyRange keys = g.band().of_row(i);
      const KeyRange limits = g.band().limits_of_row(i);
      for (i32 j = 0; j < g.len_k + 70; ++j) {
        ASSERT_EQ(keys.begin <= j && j < keys.end, g.sees(i, j)) << "row " << i << " key " << j;
        ASSERT_EQ(limits.begin <= j && j < limits.end, g.sees(i, j)) << "row " << i << " key " << j;
      }
    }
  });
}

TEST_P(AllKinds, TilesCoverWhatIsSeenAndWholeOnesNeedNoMask) {
  for_geometries([](const Geometry& g) {
    for (const i32 tile_n : {1, 4, 16}) {
      for (i32 begin = 0; begin < g.len_q; begin += 7) {
        const i32 rows = std::min(7, g.len_q - begin);
        const Band band = g.band();
        const TileRange tiles = tile_range(band, begin, begin + rows - 1, tile_n);
        const KeyRange seen_by_all = band.of_all_rows(begin, begin + rows - 1);
        ASSERT_LE(tiles.begin, tiles.end);
        for (i32 tile = 0; tile < ceil_div(g.len_k, tile_n) + 2; ++tile) {
          int seen = 0;
          for (i32 i = begin; i < begin + rows; ++i) {
            for (i32 j = tile * tile_n; j < (tile + 1) * tile_n; ++j) seen += g.sees(i, j) ? 1 : 0;
          }
          const bool inside = tiles.begin <= tile && tile < tiles.end;
          if (!inside) {
            ASSERT_EQ(seen, 0) << "tile " << tile << " of " << tile_n;
          }
          const bool all = seen == rows * tile_n;
          ASSERT_EQ(seen_by_all.begin <= tile * tile_n && (tile + 1) * tile_n <= seen_by_all.end, all)
              << "tile " << tile;
        }
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Masks, AllKinds, ::testing::Range(0, 8), [](const auto& test) {
  const int bits = test.param;
  return std::string(bits & 1 ? "causal_" : "open_") + (bits & 2 ? "top_left" : "bottom_right") +
         (bits & 4 ? "_window" : "");
});

TEST(Mask, SkipsTilesBeforeTheWindowAndAfterTheDiagonal) {
  const MaskKind kind{.causal = true, .align_top_left = false, .window = true};
  const Band band = make_band(kind, 1024, 1024, 200, -1);
  const TileRange tiles = tile_range(band, 512, 639, 64);
  EXPECT_EQ(tiles.begin, (512 - 200) / 64);
  EXPECT_EQ(tiles.end, 10);
  EXPECT_EQ(band.of_all_rows(512, 639).begin, 439);
  EXPECT_EQ(band.of_all_rows(512, 639).end, 513);
}

TEST(Mask, HugeLengthsAndWindowsDoNotOverflow) {
  const MaskKind window{.causal = false, .align_top_left = false, .window = true};
  const Band wide = make_band(window, kMaxLength, 5, INT_MAX, INT_MAX);
  EXPECT_EQ(wide.of_row(0).begin, 0);
  EXPECT_EQ(wide.of_row(0).end, 5);
  EXPECT_EQ(wide.of_row(kMaxLength - 1).end, 5);
  const Band narrow = make_band(window, 5, kMaxLength, 0, 0);
  EXPECT_EQ(narrow.of_row(4).begin, kMaxLength - 1);
  EXPECT_EQ(narrow.of_row(4).end, kMaxLength);
  EXPECT_EQ(wide.of_all_rows(kMaxLength - 1, kMaxLength - 1).end, 5);
}

}  // namespace
}  // namespace kiln::device
