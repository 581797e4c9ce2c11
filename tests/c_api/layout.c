/* Programs already built rely on these numbers. To add a member: at the end of its struct, a line here, and its default
 * in _init(). The members follow each other without gaps, so a compiler that has 64-bit pointers can't lay them out in
 * another way. */
#include "c_api/check.h"

#include <stdio.h>
#include <string.h>

typedef struct Member {
  const char* owner;
  const char* name;
  size_t struct_bytes;
  size_t offset;
  size_t bytes;
  size_t wanted_offset;
} Member;

#define MEMBER(owner, name, wanted_offset) \
  {#owner, #name, sizeof(owner), offsetof(owner, name), sizeof(((owner*)0)->name), wanted_offset}
#define END(owner, wanted_bytes) {#owner, NULL, sizeof(owner), sizeof(owner), 0, wanted_bytes}

static const Member members[] = {
    MEMBER(kiln_attention_config, struct_size, 0),
    MEMBER(kiln_attention_config, dtype, 8),
    MEMBER(kiln_attention_config, head_dim_qk, 12),
    MEMBER(kiln_attention_config, head_dim_v, 16),
    MEMBER(kiln_attention_config, causal, 20),
    MEMBER(kiln_attention_config, alignment, 24),
    MEMBER(kiln_attention_config, window, 28),
    MEMBER(kiln_attention_config, window_left, 32),
    MEMBER(kiln_attention_config, window_right, 36),
    MEMBER(kiln_attention_config, softcap, 40),
    MEMBER(kiln_attention_config, alibi, 44),
    MEMBER(kiln_attention_config, sinks, 48),
    MEMBER(kiln_attention_config, bias, 52),
    MEMBER(kiln_attention_config, ragged, 56),
    MEMBER(kiln_attention_config, paged, 60),
    MEMBER(kiln_attention_config, output_f32, 64),
    MEMBER(kiln_attention_config, allow_tf32, 68),
    MEMBER(kiln_attention_config, decode_rows, 72),
    MEMBER(kiln_attention_config, reserved, 76),
    END(kiln_attention_config, 80),

    MEMBER(kiln_strides, batch, 0),
    MEMBER(kiln_strides, row, 8),
    MEMBER(kiln_strides, head, 16),
    END(kiln_strides, 24),

    MEMBER(kiln_input, data, 0),
    MEMBER(kiln_input, strides, 8),
    END(kiln_input, 32),

    MEMBER(kiln_output, data, 0),
    MEMBER(kiln_output, strides, 8),
    END(kiln_output, 32),

    MEMBER(kiln_forward_args, struct_size, 0),
    MEMBER(kiln_forward_args, q, 8),
    MEMBER(kiln_forward_args, k, 40),
    MEMBER(kiln_forward_args, v, 72),
    MEMBER(kiln_forward_args, out, 104),
    MEMBER(kiln_forward_args, batch, 136),
    MEMBER(kiln_forward_args, len_q, 140),
    MEMBER(kiln_forward_args, len_k, 144),
    MEMBER(kiln_forward_args, heads_q, 148),
    MEMBER(kiln_forward_args, heads_kv, 152),
    MEMBER(kiln_forward_args, reserved, 156),
    MEMBER(kiln_forward_args, lse, 160),
    MEMBER(kiln_forward_args, has_scale, 168),
    MEMBER(kiln_forward_args, scale, 172),
    MEMBER(kiln_forward_args, window_left, 176),
    MEMBER(kiln_forward_args, window_right, 180),
    MEMBER(kiln_forward_args, lse_base2, 184),
    MEMBER(kiln_forward_args, softcap, 188),
    MEMBER(kiln_forward_args, alibi_slopes, 192),
    MEMBER(kiln_forward_args, alibi_batch_stride, 200),
    MEMBER(kiln_forward_args, sinks, 208),
    MEMBER(kiln_forward_args, bias, 216),
    MEMBER(kiln_forward_args, bias_strides, 224),
    MEMBER(kiln_forward_args, cu_seqlens_q, 248),
    MEMBER(kiln_forward_args, cu_seqlens_k, 256),
    MEMBER(kiln_forward_args, seqused_q, 264),
    MEMBER(kiln_forward_args, seqused_k, 272),
    MEMBER(kiln_forward_args, page_table, 280),
    MEMBER(kiln_forward_args, page_table_stride, 288),
    MEMBER(kiln_forward_args, page_size, 296),
    MEMBER(kiln_forward_args, total_q, 300),
    END(kiln_forward_args, 304),

    MEMBER(kiln_decode_args, struct_size, 0),
    MEMBER(kiln_decode_args, q, 8),
    MEMBER(kiln_decode_args, k_cache, 40),
    MEMBER(kiln_decode_args, v_cache, 72),
    MEMBER(kiln_decode_args, out, 104),
    MEMBER(kiln_decode_args, batch, 136),
    MEMBER(kiln_decode_args, max_len_k, 140),
    MEMBER(kiln_decode_args, heads_q, 144),
    MEMBER(kiln_decode_args, heads_kv, 148),
    MEMBER(kiln_decode_args, lse, 152),
    MEMBER(kiln_decode_args, lengths, 160),
    MEMBER(kiln_decode_args, has_scale, 168),
    MEMBER(kiln_decode_args, scale, 172),
    MEMBER(kiln_decode_args, window_left, 176),
    MEMBER(kiln_decode_args, num_splits, 180),
    MEMBER(kiln_decode_args, workspace, 184),
    MEMBER(kiln_decode_args, workspace_bytes, 192),
    MEMBER(kiln_decode_args, len_q, 200),
    MEMBER(kiln_decode_args, split_size, 204),
    MEMBER(kiln_decode_args, window_right, 208),
    MEMBER(kiln_decode_args, lse_base2, 212),
    MEMBER(kiln_decode_args, alibi_slopes, 216),
    MEMBER(kiln_decode_args, alibi_batch_stride, 224),
    MEMBER(kiln_decode_args, sinks, 232),
    MEMBER(kiln_decode_args, bias, 240),
    MEMBER(kiln_decode_args, bias_strides, 248),
    MEMBER(kiln_decode_args, tree_words, 272),
    MEMBER(kiln_decode_args, tree_batch_stride, 280),
    MEMBER(kiln_decode_args, tree_row_stride, 288),
    MEMBER(kiln_decode_args, cu_seqlens_q, 296),
    MEMBER(kiln_decode_args, seqused_q, 304),
    MEMBER(kiln_decode_args, cache_rows, 312),
    MEMBER(kiln_decode_args, left_padding, 320),
    MEMBER(kiln_decode_args, page_table, 328),
    MEMBER(kiln_decode_args, page_table_stride, 336),
    MEMBER(kiln_decode_args, page_indptr, 344),
    MEMBER(kiln_decode_args, last_page_len, 352),
    MEMBER(kiln_decode_args, page_size, 360),
    MEMBER(kiln_decode_args, total_q, 364),
    MEMBER(kiln_decode_args, softcap, 368),
    MEMBER(kiln_decode_args, reserved, 372),
    END(kiln_decode_args, 376),

    MEMBER(kiln_shared_prefix, struct_size, 0),
    MEMBER(kiln_shared_prefix, k, 8),
    MEMBER(kiln_shared_prefix, v, 40),
    MEMBER(kiln_shared_prefix, len, 72),
    MEMBER(kiln_shared_prefix, reserved, 76),
    MEMBER(kiln_shared_prefix, length, 80),
    MEMBER(kiln_shared_prefix, page_table, 88),
    END(kiln_shared_prefix, 96),

    MEMBER(kiln_merge_config, struct_size, 0),
    MEMBER(kiln_merge_config, dtype, 8),
    MEMBER(kiln_merge_config, out_dtype, 12),
    MEMBER(kiln_merge_config, head_dim_v, 16),
    MEMBER(kiln_merge_config, reserved, 20),
    END(kiln_merge_config, 24),

    MEMBER(kiln_lse_input, data, 0),
    MEMBER(kiln_lse_input, strides, 8),
    END(kiln_lse_input, 32),

    MEMBER(kiln_lse_output, data, 0),
    MEMBER(kiln_lse_output, strides, 8),
    END(kiln_lse_output, 32),

    MEMBER(kiln_partial_state, out, 0),
    MEMBER(kiln_partial_state, lse, 32),
    END(kiln_partial_state, 64),

    MEMBER(kiln_merge_args, struct_size, 0),
    MEMBER(kiln_merge_args, states, 8),
    MEMBER(kiln_merge_args, out, 1032),
    MEMBER(kiln_merge_args, num_states, 1064),
    MEMBER(kiln_merge_args, batch, 1068),
    MEMBER(kiln_merge_args, len, 1072),
    MEMBER(kiln_merge_args, heads, 1076),
    MEMBER(kiln_merge_args, lse, 1080),
    MEMBER(kiln_merge_args, lse_base2, 1112),
    MEMBER(kiln_merge_args, reserved, 1116),
    END(kiln_merge_args, 1120),

    MEMBER(kiln_kernel_request, struct_size, 0),
    MEMBER(kiln_kernel_request, kind, 8),
    MEMBER(kiln_kernel_request, reserved, 12),
    MEMBER(kiln_kernel_request, config, 16),
    MEMBER(kiln_kernel_request, merge_config, 24),
    END(kiln_kernel_request, 32),

    MEMBER(kiln_progress, struct_size, 0),
    MEMBER(kiln_progress, done, 8),
    MEMBER(kiln_progress, total, 12),
    MEMBER(kiln_progress, seconds_left, 16),
    END(kiln_progress, 24),

    MEMBER(kiln_stats, struct_size, 0),
    MEMBER(kiln_stats, memory_hits, 8),
    MEMBER(kiln_stats, precompiled_hits, 16),
    MEMBER(kiln_stats, disk_hits, 24),
    MEMBER(kiln_stats, compiles, 32),
    MEMBER(kiln_stats, launches, 40),
    MEMBER(kiln_stats, compile_ms, 48),
    MEMBER(kiln_stats, load_ms, 56),
    END(kiln_stats, 64),

    MEMBER(kiln_kernel_info, struct_size, 0),
    MEMBER(kiln_kernel_info, kind, 8),
    MEMBER(kiln_kernel_info, origin, 12),
    MEMBER(kiln_kernel_info, config, 16),
    MEMBER(kiln_kernel_info, target, 24),
    MEMBER(kiln_kernel_info, kernel_id, 32),
    MEMBER(kiln_kernel_info, registers, 40),
    MEMBER(kiln_kernel_info, spill_bytes, 44),
    MEMBER(kiln_kernel_info, smem_bytes, 48),
    MEMBER(kiln_kernel_info, reserved, 52),
    MEMBER(kiln_kernel_info, compile_ms, 56),
    MEMBER(kiln_kernel_info, merge_config, 64),
    END(kiln_kernel_info, 72),
};

static void check_member(const Member* member, size_t end_of_last) {
  char what[128];
  const char* const name = member->name != NULL ? member->name : "(the end)";
  snprintf(what, sizeof(what), "%s.%s lies at %d, not at %d", member->owner, name, (int)member->offset,
           (int)member->wanted_offset);
  check(member->offset == member->wanted_offset, __FILE__, __LINE__, what);
  snprintf(what, sizeof(what), "%s.%s begins at %d, but what is before it ends at %d", member->owner, name,
           (int)member->offset, (int)end_of_last);
  check(member->offset == end_of_last, __FILE__, __LINE__, what);
  snprintf(what, sizeof(what), "%s.%s lies across a multiple of 8", member->owner, name);
  check(member->bytes % 8 == 0 || member->offset / 8 == (member->offset + member->bytes - 1) / 8, __FILE__, __LINE__,
        what);
}

void test_layout(void) {
  size_t end_of_last = 0;
  size_t i = 0;
  for (i = 0; i < sizeof(members) / sizeof(members[0]); ++i) {
    check_member(&members[i], end_of_last);
    end_of_last = members[i].name != NULL ? members[i].offset + members[i].bytes : 0;
  }
  /* Numbers that programs have compiled in. */
  CHECK(KILN_OK == 0 && KILN_ERROR_INVALID_ARGUMENT == 1 && KILN_ERROR_UNSUPPORTED == 2);
  CHECK(KILN_ERROR_MISSING_KERNEL == 3 && KILN_ERROR_CAPTURING == 4 && KILN_ERROR_COMPILE == 5);
  CHECK(KILN_ERROR_CUDA == 6 && KILN_ERROR_IO == 7 && KILN_ERROR_CANCELLED == 8);
  CHECK(KILN_ERROR_OUT_OF_MEMORY == 100 && KILN_ERROR_INTERNAL == 101);
  CHECK(KILN_F16 == 0 && KILN_BF16 == 1 && KILN_F32 == 2 && KILN_BOTTOM_RIGHT == 0 && KILN_TOP_LEFT == 1);
  CHECK(KILN_WINDOW_NONE == 0 && KILN_WINDOW_SLIDING == 1 && KILN_WINDOW_FIXED == 2);
  CHECK(KILN_BIAS_NONE == 0 && KILN_BIAS_ADDITIVE == 1 && KILN_BIAS_MASK == 2);
  CHECK(KILN_KIND_FORWARD == 0 && KILN_KIND_DECODE == 1 && KILN_KIND_MERGE == 2);
  CHECK(KILN_MOST_MERGED_STATES == 16);
  CHECK(KILN_LOG_TRACE == 0 && KILN_LOG_DEBUG == 1 && KILN_LOG_INFO == 2 && KILN_LOG_WARNING == 3);
  CHECK(KILN_LOG_ERROR == 4 && KILN_LOG_OFF == 5 && KILN_CONFIG_TEXT_BYTES == 192);
  CHECK(KILN_ORIGIN_PRECOMPILED == 0 && KILN_ORIGIN_DISK == 1 && KILN_ORIGIN_COMPILED == 2);
  CHECK(sizeof(kiln_status) == 4 && strlen(kiln_version()) >= 5);
}
