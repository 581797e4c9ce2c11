#ifndef KILN_KILN_H
#define KILN_KILN_H

/* Kiln for C, and for whatever can call C. The same library as kiln.hpp, call for call:
 *
 *   kiln_runtime* runtime = NULL;
 *   kiln_forward_kernel* attention = NULL;
 *   kiln_attention_config config = kiln_attention_config_init();
 *   config.causal = 1;
 *   if (kiln_runtime_create(NULL, &runtime) != KILN_OK || kiln_forward_get(runtime, &config, &attention) != KILN_OK)
 *     return fail(kiln_last_error());
 *   kiln_forward_args args = kiln_forward_args_init();
 *   args.q.data = ...;
 *   kiln_forward_launch(attention, stream, &args);
 *
 * Errors. What can fail returns a status; kiln_last_error() has the sentence for a person. No exception leaves the
 * library. A pointer that must not be null says so by its name: "runtime is null". On failure a handle asked for is
 * set to null.
 *
 * Structs. Each begins with its size, so that programs built with another version of this header keep working. Get
 * it from its _init() function, which also sets the defaults, and change what you need. Without _init() (from another
 * language): zero the struct, set struct_size and the defaults noted here. A shorter struct_size, as older headers
 * have it, is a multiple of 8 that covers at least the members not said to be optional; the rest takes its defaults. A
 * longer one, as newer headers have it, is accepted if all that this library does not know is 0.
 *
 * Threads. Any function may be called from any thread, on the same handle too; only kiln_options is one thread's at a
 * time, and nothing may be in use while it is destroyed. */

#include <kiln/export.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Status ---- */

/** KILN_OK or what went wrong. A newer library may return codes that are not listed here. */
typedef int32_t kiln_status;
enum {
  KILN_OK = 0,
  KILN_ERROR_INVALID_ARGUMENT = 1, /**< a value you gave is wrong; the text names it and the limit */
  KILN_ERROR_UNSUPPORTED = 2,      /**< the request is sensible but this build or GPU can't do it */
  KILN_ERROR_MISSING_KERNEL = 3,   /**< JIT is off and no precompiled kernel matches */
  KILN_ERROR_CAPTURING = 4,        /**< a compile would be needed while the stream is being captured */
  KILN_ERROR_COMPILE = 5,          /**< NVRTC is missing, too old, or refused the source */
  KILN_ERROR_CUDA = 6,             /**< the driver is missing or returned an error */
  KILN_ERROR_IO = 7,               /**< a file could not be read or written */
  KILN_ERROR_CANCELLED = 8,        /**< the work was cancelled before it was done */
  KILN_ERROR_OUT_OF_MEMORY = 100,  /**< of the host */
  KILN_ERROR_INTERNAL = 101        /**< anything else: please report it */
};

/** "ok", "invalid_argument", …; "unknown" for a number that is no status. Never null. */
KILN_API const char* kiln_status_name(kiln_status status);

/** What this thread's last failing call had to say; "" if none has failed. Valid until this thread's next failing
 * call. Never null; never freed. Calls that go well leave it alone. */
KILN_API const char* kiln_last_error(void);

/** The version of the library that runs, "MAJOR.MINOR.PATCH". Never null; never freed. */
KILN_API const char* kiln_version(void);

/* ---- Options ---- */

/** How a runtime behaves. */
typedef struct kiln_options kiln_options;

/** The defaults, whatever the environment says. */
KILN_API kiln_status kiln_options_create(kiln_options** options);
/** The defaults changed by the KILN_* variables: what a runtime gets if it is given no options. */
KILN_API kiln_status kiln_options_from_environment(kiln_options** options);
/** A JSON object whose keys are those of kiln_options_set(). Unknown keys and bad values are errors. */
KILN_API kiln_status kiln_options_from_file(const char* path, kiln_options** options);
/** The same from text. `origin` begins the messages of errors; null: "options". */
KILN_API kiln_status kiln_options_from_json(const char* text, const char* origin, kiln_options** options);
/** Null is nothing to destroy. */
KILN_API void kiln_options_destroy(kiln_options* options);

/** Sets one option by its JSON key, to a value written as its environment variable takes it:
 * kiln_options_set(options, "cache_dir", "/var/cache/engine"), ("jit", "off"), ("device", "0"). The README lists
 * them. After an error the options are as before. */
KILN_API kiln_status kiln_options_set(kiln_options* options, const char* key, const char* value);
/** A pack of kernels that is built into the program: searched after what "precompiled" names. The bytes must stay as
 * they are until the runtimes made with these options, and their preparations, are gone. Bytes that are no pack are a
 * warning when a kernel is first looked for. */
KILN_API kiln_status kiln_options_add_pack(kiln_options* options, const void* pack, size_t bytes);
/** Lets KILN_* override what is set here. The environment is never read later. */
KILN_API kiln_status kiln_options_apply_environment(kiln_options* options);

enum { KILN_LOG_TRACE, KILN_LOG_DEBUG, KILN_LOG_INFO, KILN_LOG_WARNING, KILN_LOG_ERROR, KILN_LOG_OFF };
/** Called from any thread, one line at a time, without a line end. The line is gone when the callback returns. */
typedef void (*kiln_log_callback)(int32_t level, const char* line, void* user);
/** Where log lines go; a null callback: standard error. Callback and `user` must live as long as these options and
 * the runtimes made with them. */
KILN_API kiln_status kiln_options_set_log(kiln_options* options, kiln_log_callback callback, void* user);

/* ---- Configs and arguments ---- */

/** A CUstream or cudaStream_t; null is the default stream. */
typedef struct CUstream_st* kiln_stream;

enum { KILN_F16 = 0, KILN_BF16 = 1, KILN_F32 = 2 };
enum {
  KILN_BOTTOM_RIGHT = 0, /**< the last query sees the last key: δ = len_k − len_q */
  KILN_TOP_LEFT = 1      /**< the first query stands at the first key: δ = 0 */
};
/** Key j is visible iff i + δ − left ≤ j ≤ i + δ + right. A side of −1 is open. */
enum {
  KILN_WINDOW_NONE = 0,
  KILN_WINDOW_SLIDING = 1, /**< the sides come with each call */
  KILN_WINDOW_FIXED = 2    /**< the sides are the config's */
};
/** A tensor over [batch, heads_q, len_q, len_k] that comes with each call. */
enum {
  KILN_BIAS_NONE = 0,
  KILN_BIAS_ADDITIVE = 1, /**< in the inputs' type, added to the scaled score */
  KILN_BIAS_MASK = 2      /**< a byte each; 0 hides the key */
};

/** What is fixed when a kernel is compiled. All members are optional.
 *
 * score = softcap(scale · q·k) − slope · |i + δ − j| + bias, then what isn't visible is hidden. */
typedef struct kiln_attention_config {
  size_t struct_size;
  int32_t dtype;        /**< KILN_F16, KILN_BF16 (the default), KILN_F32: of q, k, v and the output */
  int32_t head_dim_qk;  /**< 128 */
  int32_t head_dim_v;   /**< 128 */
  int32_t causal;       /**< 1: key j is visible iff j ≤ i + δ; 0 */
  int32_t alignment;    /**< KILN_BOTTOM_RIGHT */
  int32_t window;       /**< KILN_WINDOW_NONE */
  int32_t window_left;  /**< −1; a fixed window's only */
  int32_t window_right; /**< −1; a fixed window's only */
  int32_t softcap;      /**< 1: scores become cap · tanh(score / cap), and the cap comes with each call; 0 */
  int32_t alibi;        /**< 1: the slopes come with each call; 0 */
  int32_t sinks;        /**< 1: a logit per head, which comes with each call, joins the denominator; 0 */
  int32_t bias;         /**< KILN_BIAS_NONE */
  int32_t ragged;       /**< 1: sequences have lengths of their own, which lie on the device; 0 */
  int32_t paged;        /**< 1: keys and values lie in pages that a table lists; 0 */
  int32_t output_f32;   /**< 1: the output is float32 whatever the inputs are; 0 */
  int32_t allow_tf32;   /**< 1: float32 products may drop to one TF32 pass; 0: three, as exact as float32 */
  /** Decode: 16, 32 or 64 rows that a block takes at once; a row is one new token with one query head of a KV head.
   * More rows than that work, too, but each further tile of rows reads keys and values again. */
  int32_t decode_rows;
  int32_t reserved; /**< 0 */
} kiln_attention_config;

/** Distances in elements between neighbours along each dimension; the head dimension itself is contiguous. Every
 * stride of a dimension larger than 1 must be a multiple of 16 bytes, at least 0 (0 repeats the same data, inputs
 * only) and below 2^40 bytes. */
typedef struct kiln_strides {
  int64_t batch;
  int64_t row; /**< from one token to the next */
  int64_t head;
} kiln_strides;

/** Device memory that is read. The pointer is a multiple of 16 bytes. */
typedef struct kiln_input {
  const void* data;
  kiln_strides strides;
} kiln_input;

/** Device memory that is written. The pointer is a multiple of 16 bytes; no stride is 0. */
typedef struct kiln_output {
  void* data;
  kiln_strides strides;
} kiln_output;

/** One forward call: out = softmax(scale · q kᵀ + mask) v for every batch and head. */
typedef struct kiln_forward_args {
  size_t struct_size;
  kiln_input q;    /**< [batch, len_q, heads_q, head_dim_qk], or packed [total_q, heads_q, head_dim_qk] */
  kiln_input k;    /**< [batch, len_k, heads_kv, head_dim_qk], or packed, or [pages, page_size, heads_kv, …] */
  kiln_input v;    /**< [batch, len_k, heads_kv, head_dim_v], or packed, or pages */
  kiln_output out; /**< [batch, len_q, heads_q, head_dim_v], or packed [total_q, heads_q, head_dim_v] */
  int32_t batch;
  int32_t len_q; /**< with lengths on the device: the most that a sequence has */
  int32_t len_k; /**< likewise */
  int32_t heads_q;
  int32_t heads_kv; /**< divides heads_q */
  int32_t reserved; /**< 0 */

  /* From here on optional. */
  float* lse;           /**< null, or [batch, heads_q, len_q], or packed [heads_q, total_q], dense */
  int32_t has_scale;    /**< 0: the scale is 1/√head_dim_qk; 1: it is `scale` */
  float scale;          /**< 0 unless has_scale is 1 */
  int32_t window_left;  /**< keys visible before the query's own position; −1: all. A sliding window's only */
  int32_t window_right; /**< keys visible after it; −1: all. A sliding window's only */
  int32_t lse_base2;    /**< 0: the LSE is a natural logarithm; 1: to base 2 */
  float softcap;        /**< above 0; 0 unless the config has softcap */

  const float* alibi_slopes;  /**< device memory, [heads_q] or [batch, heads_q]; alibi only */
  int64_t alibi_batch_stride; /**< from one sequence's slopes to the next; 0: all have the same */
  const float* sinks;         /**< device memory, [heads_q], natural logits; sinks only */
  /** Device memory over [batch, heads_q, len_q, len_k], with a bias only. Neighbouring keys are neighbours; strides, in
   * elements, are at least 0, and 0 repeats the same data. */
  const void* bias;
  kiln_strides bias_strides;

  /* Ragged only: device memory, read by the kernel, so a captured graph follows it. Each is optional, and what a
   * sequence has is cut to [0, len_q] or [0, len_k]. */
  /** [batch + 1]: sequence b has rows cu[b] … cu[b + 1] − 1 of a packed [total, heads, dim] tensor, whose strides.batch
   * is not used. */
  const int32_t* cu_seqlens_q;
  const int32_t* cu_seqlens_k; /**< not with pages */
  /** [batch]: of the rows that sequence b has, only the first so many count. Other rows of the output stay as they
   * are. */
  const int32_t* seqused_q;
  const int32_t* seqused_k;

  /** Paged only: device memory, [batch, page_table_stride]. Key j of sequence b is row j % page_size of page
   * table[b][j / page_size]; strides.batch of k and v is from page to page. */
  const int32_t* page_table;
  int64_t page_table_stride; /**< entries; at least len_k / page_size, rounded up */
  int32_t page_size;         /**< 1 or more; 0 unless paged */
  int32_t total_q;           /**< rows of the packed q; 0 unless cu_seqlens_q is given */
} kiln_forward_args;

/** One decode call: few new tokens per sequence against a cache of keys and values that holds them already. With the
 * default alignment, the last query stands at the last key. One kernel serves a config with and without causal,
 * windows, sinks and ragged. */
typedef struct kiln_decode_args {
  size_t struct_size;
  kiln_input q;       /**< [batch, len_q, heads_q, head_dim_qk], or packed [total_q, heads_q, head_dim_qk] */
  kiln_input k_cache; /**< [batch, max_len_k, heads_kv, head_dim_qk], or [pages, page_size, heads_kv, …] */
  kiln_input v_cache; /**< [batch, max_len_k, heads_kv, head_dim_v], or pages */
  kiln_output out;    /**< [batch, len_q, heads_q, head_dim_v], or packed [total_q, heads_q, head_dim_v] */
  int32_t batch;
  int32_t max_len_k;
  int32_t heads_q;
  int32_t heads_kv; /**< divides heads_q */

  /* From here on optional. */
  float* lse; /**< null, or [batch, heads_q, len_q], or packed [heads_q, total_q], dense */
  /** Device memory, [batch]: how many tokens of the cache are valid, the new ones included. Read by the kernel, so a
   * captured graph follows it. Null: all max_len_k. Values are clamped to [0, max_len_k]. */
  const int32_t* lengths;
  int32_t has_scale;   /**< 0: the scale is 1/√head_dim_qk; 1: it is `scale` */
  float scale;         /**< 0 unless has_scale is 1 */
  int32_t window_left; /**< keys visible before the query's own position; −1: all. A sliding window's only */
  /** Over how many blocks the keys of a sequence and KV head are split. 0: Kiln shares out the work of the whole batch,
   * however long its sequences, evenly over the GPU. Fixed numbers, or sizes, make a sequence's result independent of
   * the batch around it, bit for bit. */
  int32_t num_splits;
  /** Device memory of at least kiln_decode_workspace_bytes(), a multiple of 16 bytes, zeroed once before the first
   * call. Calls leave it fit for the next one. Never share it between streams: the option check_workspaces finds where
   * two do. */
  void* workspace;
  size_t workspace_bytes;

  int32_t len_q;        /**< 1; new tokens of each sequence; with lengths on the device: the most */
  int32_t split_size;   /**< keys of a split, rounded up to whole tiles of the kernel's; not beside num_splits; 0 */
  int32_t window_right; /**< keys visible after a query's own position; −1: all. A sliding window's only */
  int32_t lse_base2;    /**< 0: the LSE is a natural logarithm; 1: to base 2 */

  const float* alibi_slopes;  /**< device memory, [heads_q] or [batch, heads_q]; alibi only */
  int64_t alibi_batch_stride; /**< from one sequence's slopes to the next; 0: all have the same */
  const float* sinks;         /**< device memory, [heads_q], natural logits; sinks only */
  /** Device memory over [batch, heads_q, len_q, max_len_k], with a bias only. Neighbouring keys are neighbours;
   * strides, in elements, are at least 0, and 0 repeats the same data. */
  const void* bias;
  kiln_strides bias_strides;

  /** Which new tokens see each other, where they are a tree: device memory, [batch, len_q, ⌈len_q / 32⌉], strides in
   * words. Beside the cached tokens, query i sees new token j iff bit j % 32 of word j / 32 of its row is set, and
   * nothing else hides it. Null: no tree. */
  const uint32_t* tree_words;
  int64_t tree_batch_stride; /**< 0: all sequences have the same tree */
  int64_t tree_row_stride;

  /* How many new tokens each sequence has; ragged only, as kiln_forward_args has them. */
  const int32_t* cu_seqlens_q;
  const int32_t* seqused_q;

  /** Device memory, [batch]: sequence b has row cache_rows[b] of the cache, or of the page table, instead of row b;
   * below 0: no keys. Rows are not checked. */
  const int32_t* cache_rows;
  /** Device memory, [batch]: so many positions in front of a sequence's first key don't count, in no length or position
   * but `lengths` and max_len_k. Windows, ALiBi and the bias's columns count from the first key behind them. */
  const int32_t* left_padding;

  /** Paged only: device memory, [batch, page_table_stride]. Key j of sequence b is row j % page_size of page
   * table[b][j / page_size]; strides.batch of the caches is from page to page. */
  const int32_t* page_table;
  int64_t page_table_stride; /**< entries; at least max_len_k / page_size, rounded up */
  /** The table as lists one behind the other: device memory, [batch + 1]. Sequence b has pages page_table[indptr[b]] …
   * page_table[indptr[b + 1] − 1], and so no more keys than they hold. Null: a table of rows. */
  const int32_t* page_indptr;
  const int32_t* last_page_len; /**< with page_indptr: [batch], keys in the last page of each sequence */
  int32_t page_size;            /**< 1 or more; 0 unless paged */
  int32_t total_q;              /**< rows of the packed q; 0 unless cu_seqlens_q is given */
  float softcap;                /**< above 0; 0 unless the config has softcap */
  int32_t reserved;             /**< 0 */
} kiln_decode_args;

/** Keys and values that every sequence of a batch begins with: kiln_shared_prefix_launch(). */
typedef struct kiln_shared_prefix {
  size_t struct_size;
  kiln_input k;     /**< [len, heads_kv, head_dim_qk], or pages; strides.batch is from page to page, else not used */
  kiln_input v;     /**< [len, heads_kv, head_dim_v], or pages */
  int32_t len;      /**< with a length on the device: the most */
  int32_t reserved; /**< 0 */

  /* From here on optional. */
  /** Device memory, one number: how many keys the prefix has. Read by the kernel, so a captured graph follows it. Null:
   * len. The value is clamped to [0, len]. */
  const int32_t* length;
  /** Paged only: device memory, ⌈len / page_size⌉ pages of the decode arguments' page_size keys each. */
  const int32_t* page_table;
} kiln_shared_prefix;

/** Strides of a dense [batch, length, heads, dim] tensor. */
static inline kiln_strides kiln_strides_bshd(int64_t length, int64_t heads, int64_t dim) {
  kiln_strides strides = {length * heads * dim, heads * dim, dim};
  return strides;
}
/** Strides of a dense [batch, heads, length, dim] tensor. */
static inline kiln_strides kiln_strides_bhsd(int64_t length, int64_t heads, int64_t dim) {
  kiln_strides strides = {heads * length * dim, dim, length * dim};
  return strides;
}

/** The defaults: what is not named is 0. */
static inline kiln_attention_config kiln_attention_config_init(void) {
  kiln_attention_config config;
  memset(&config, 0, sizeof(config));
  config.struct_size = sizeof(config);
  config.dtype = KILN_BF16;
  config.head_dim_qk = config.head_dim_v = 128;
  config.window_left = config.window_right = -1;
  config.decode_rows = 16;
  return config;
}

/** The defaults: what is not named is null or 0. */
static inline kiln_forward_args kiln_forward_args_init(void) {
  kiln_forward_args args;
  memset(&args, 0, sizeof(args));
  args.struct_size = sizeof(args);
  args.window_left = args.window_right = -1;
  return args;
}

static inline kiln_decode_args kiln_decode_args_init(void) {
  kiln_decode_args args;
  memset(&args, 0, sizeof(args));
  args.struct_size = sizeof(args);
  args.len_q = 1;
  args.window_left = args.window_right = -1;
  return args;
}

/** The defaults: all is null or 0. */
static inline kiln_shared_prefix kiln_shared_prefix_init(void) {
  kiln_shared_prefix prefix;
  memset(&prefix, 0, sizeof(prefix));
  prefix.struct_size = sizeof(prefix);
  return prefix;
}

/** What is fixed when a merging kernel is compiled. All members are optional. */
typedef struct kiln_merge_config {
  size_t struct_size;
  int32_t dtype;      /**< KILN_BF16; of the states' outputs */
  int32_t out_dtype;  /**< KILN_BF16; of the result */
  int32_t head_dim_v; /**< 128 */
  int32_t reserved;   /**< 0 */
} kiln_merge_config;

/** Device memory that is read, float32 over [batch, len, heads]: strides in elements, at least 0 and below 2^40 bytes.
 * Those of an LSE as forward and decode write it, dense [batch, heads, len], are kiln_strides_bhsd(len, heads, 1); a
 * packed one, [heads, total], is a batch of 1. */
typedef struct kiln_lse_input {
  const float* data;
  kiln_strides strides;
} kiln_lse_input;

/** The same, written: no stride of a dimension larger than 1 is 0. */
typedef struct kiln_lse_output {
  float* data;
  kiln_strides strides;
} kiln_lse_output;

/** What attention over some of the keys gave. */
typedef struct kiln_partial_state {
  kiln_input out;     /**< [batch, len, heads, head_dim_v] */
  kiln_lse_input lse; /**< −inf: the row saw no key, and its out counts for nothing, whatever it holds */
} kiln_partial_state;

enum { KILN_MOST_MERGED_STATES = 16 };

/** One merge: attention over all the keys that the states' were over, none of them in two states. Rows that are empty
 * in every state give 0 and −inf. An attention sink belongs to one of the states.
 *
 * The result may lie where one of the states does, out and LSE each with that state's strides; else it overlaps none.
 */
typedef struct kiln_merge_args {
  size_t struct_size;
  /** The first num_states count. More than these are merged in several calls, the result of one a state of the next. */
  kiln_partial_state states[KILN_MOST_MERGED_STATES];
  kiln_output out; /**< [batch, len, heads, head_dim_v] */
  int32_t num_states;
  int32_t batch;
  int32_t len;
  int32_t heads;

  /* From here on optional. */
  kiln_lse_output lse; /**< null data: none is written */
  int32_t lse_base2;   /**< 0: every LSE, the states' and the result's, is a natural logarithm; 1: to base 2 */
  int32_t reserved;    /**< 0 */
} kiln_merge_args;

/** The defaults. */
static inline kiln_merge_config kiln_merge_config_init(void) {
  kiln_merge_config config = {sizeof(kiln_merge_config), KILN_BF16, KILN_BF16, 128, 0};
  return config;
}

/** The defaults: all is null or 0. */
static inline kiln_merge_args kiln_merge_args_init(void) {
  kiln_merge_args args;
  memset(&args, 0, sizeof(args));
  args.struct_size = sizeof(args);
  return args;
}

enum { KILN_CONFIG_TEXT_BYTES = 192 }; /**< enough for every config */
/** Writes "bf16 d128 causal", for messages and tables, with its final zero. Too few bytes are an error. */
KILN_API kiln_status kiln_attention_config_text(const kiln_attention_config* config, char* text, size_t text_bytes);

/* ---- Runtime ---- */

/** Finds, builds and keeps kernels for one device. Make one per device and keep it. It works in the caller's current
 * CUDA context and never changes it. */
typedef struct kiln_runtime kiln_runtime;

/** Null options: kiln_options_from_environment(). The options may be destroyed afterwards. */
KILN_API kiln_status kiln_runtime_create(const kiln_options* options, kiln_runtime** runtime);
/** Kernels got from it stay valid. Null is nothing to destroy. */
KILN_API void kiln_runtime_destroy(kiln_runtime* runtime);

enum { KILN_KIND_FORWARD = 0, KILN_KIND_DECODE = 1, KILN_KIND_MERGE = 2 };

/** What kiln_runtime_prepare() needs to know of a kernel. */
typedef struct kiln_kernel_request {
  size_t struct_size;
  int32_t kind;                        /**< KILN_KIND_FORWARD, KILN_KIND_DECODE, KILN_KIND_MERGE */
  int32_t reserved;                    /**< 0 */
  const kiln_attention_config* config; /**< of forward and decode; null for a merge */

  /* From here on optional. */
  const kiln_merge_config* merge_config; /**< of a merge; else null */
} kiln_kernel_request;

static inline kiln_kernel_request kiln_kernel_request_init(void) {
  kiln_kernel_request request = {sizeof(kiln_kernel_request), KILN_KIND_FORWARD, 0, NULL, NULL};
  return request;
}

typedef struct kiln_progress {
  size_t struct_size;
  int32_t done;
  int32_t total;
  double seconds_left; /**< an estimate; 0 while there is none */
} kiln_progress;
/** Called from the thread that calls kiln_runtime_prepare(), or from one of Kiln's own, one call at a time. The struct
 * is gone when the callback returns. */
typedef void (*kiln_progress_callback)(const kiln_progress* progress, void* user);

/** Makes all of these ready, compiling in parallel. The requests lie one after the other, all of the first one's
 * struct_size; a null callback: no reports. One that fails does not stop the others; the first error is returned. */
KILN_API kiln_status kiln_runtime_prepare(const kiln_runtime* runtime, const kiln_kernel_request* requests,
                                          size_t request_count, kiln_progress_callback progress, void* user);

/** Kernels being made ready in the background; keeps alive what it needs of its runtime. */
typedef struct kiln_preparation kiln_preparation;

/** kiln_runtime_prepare() without waiting for it. The requests have been read when it returns; callback and `user` must
 * live until kiln_preparation_wait() or kiln_preparation_destroy() returns. The first report may come before the handle
 * is handed over. The callback may cancel or destroy the preparation, but not wait for it. */
KILN_API kiln_status kiln_runtime_prepare_async(const kiln_runtime* runtime, const kiln_kernel_request* requests,
                                                size_t request_count, kiln_progress_callback progress, void* user,
                                                kiln_preparation** preparation);
/** Waits until every kernel was made ready or given up. The first failure is returned, or KILN_ERROR_CANCELLED if there
 * was none but cancelling left kernels unmade; asked again, the same. */
KILN_API kiln_status kiln_preparation_wait(const kiln_preparation* preparation);
/** Sets *done to 1 if kiln_preparation_wait() would return at once, else to 0. */
KILN_API kiln_status kiln_preparation_done(const kiln_preparation* preparation, int32_t* done);
/** Asks for a stop and returns: kernels not begun are dropped, compiles that run end within a fraction of a second,
 * what is ready stays. Calls elsewhere that wait for the same kernel make it themselves. */
KILN_API kiln_status kiln_preparation_cancel(const kiln_preparation* preparation);
/** Cancels what is not done and waits until Kiln's threads have stopped. Null is nothing to destroy. */
KILN_API void kiln_preparation_destroy(kiln_preparation* preparation);

/** Counters since the runtime was made. */
typedef struct kiln_stats {
  size_t struct_size;
  uint64_t memory_hits;
  uint64_t precompiled_hits;
  uint64_t disk_hits;
  uint64_t compiles;
  uint64_t launches;
  double compile_ms; /**< summed over threads */
  double load_ms;    /**< reading, verifying and handing kernels to the driver */
} kiln_stats;

static inline kiln_stats kiln_stats_init(void) {
  kiln_stats stats = {sizeof(kiln_stats), 0, 0, 0, 0, 0, 0.0, 0.0};
  return stats;
}

/** Fills in struct_size bytes of what it is given; what a longer struct has beyond this library's is set to 0. */
KILN_API kiln_status kiln_runtime_stats(const kiln_runtime* runtime, kiln_stats* stats);

/* ---- Kernels ---- */

/** Kernels ready to launch on one device, valid after their runtime is gone. Each get() and each retain() takes one
 * release(). A launch that goes well throws, renders, hashes and allocates nothing and never synchronises. */
typedef struct kiln_forward_kernel kiln_forward_kernel;
typedef struct kiln_decode_kernel kiln_decode_kernel;
typedef struct kiln_merge_kernel kiln_merge_kernel;

/** The kernel for a config: from memory, a precompiled folder, the disk, or NVRTC, in this order. While a stream of
 * the current context is being captured, a kernel that would have to be compiled is KILN_ERROR_CAPTURING: ask before,
 * or use kiln_runtime_prepare(). */
KILN_API kiln_status kiln_forward_get(const kiln_runtime* runtime, const kiln_attention_config* config,
                                      kiln_forward_kernel** kernel);
KILN_API kiln_status kiln_decode_get(const kiln_runtime* runtime, const kiln_attention_config* config,
                                     kiln_decode_kernel** kernel);
KILN_API kiln_status kiln_merge_get(const kiln_runtime* runtime, const kiln_merge_config* config,
                                    kiln_merge_kernel** kernel);

/** One more owner of the same handle. */
KILN_API kiln_status kiln_forward_retain(kiln_forward_kernel* kernel);
KILN_API kiln_status kiln_decode_retain(kiln_decode_kernel* kernel);
KILN_API kiln_status kiln_merge_retain(kiln_merge_kernel* kernel);
/** One owner less; the last one frees it. Null is nothing to release. */
KILN_API void kiln_forward_release(kiln_forward_kernel* kernel);
KILN_API void kiln_decode_release(kiln_decode_kernel* kernel);
KILN_API void kiln_merge_release(kiln_merge_kernel* kernel);

/** Queues one call on `stream`, which belongs to the caller's current context. */
KILN_API kiln_status kiln_forward_launch(const kiln_forward_kernel* kernel, kiln_stream stream,
                                         const kiln_forward_args* args);
KILN_API kiln_status kiln_decode_launch(const kiln_decode_kernel* kernel, kiln_stream stream,
                                        const kiln_decode_args* args);
KILN_API kiln_status kiln_merge_launch(const kiln_merge_kernel* kernel, kiln_stream stream,
                                       const kiln_merge_args* args);

/** Exact size of the workspace that a call with these shapes needs; pointers are not looked at. */
KILN_API kiln_status kiln_decode_workspace_bytes(const kiln_decode_kernel* kernel, const kiln_decode_args* args,
                                                 size_t* bytes);

/** get() and launch() in one step, for a caller that keeps configs rather than handles. If the kernel is not in memory
 * while `stream` is being captured, the call fails with KILN_ERROR_CAPTURING. */
KILN_API kiln_status kiln_runtime_launch_forward(const kiln_runtime* runtime, const kiln_attention_config* config,
                                                 kiln_stream stream, const kiln_forward_args* args);
KILN_API kiln_status kiln_runtime_launch_decode(const kiln_runtime* runtime, const kiln_attention_config* config,
                                                kiln_stream stream, const kiln_decode_args* args);
KILN_API kiln_status kiln_runtime_launch_merge(const kiln_runtime* runtime, const kiln_merge_config* config,
                                               kiln_stream stream, const kiln_merge_args* args);

enum { KILN_ORIGIN_PRECOMPILED = 0, KILN_ORIGIN_DISK = 1, KILN_ORIGIN_COMPILED = 2 };

/** What a person wants to know about a loaded kernel. The pointers are valid as long as the kernel. */
typedef struct kiln_kernel_info {
  size_t struct_size;
  int32_t kind;
  int32_t origin;                      /**< where it came from when it was last asked for */
  const kiln_attention_config* config; /**< null for a merge */
  const char* target;                  /**< "sm_90" */
  const char* kernel_id;               /**< 64 hex digits; docs/CACHE.md */
  int32_t registers;
  int32_t spill_bytes;
  int32_t smem_bytes;
  int32_t reserved;
  double compile_ms;                     /**< 0 unless origin is KILN_ORIGIN_COMPILED */
  const kiln_merge_config* merge_config; /**< of a merge; else null */
} kiln_kernel_info;

static inline kiln_kernel_info kiln_kernel_info_init(void) {
  kiln_kernel_info info = {sizeof(kiln_kernel_info), 0, 0, NULL, NULL, NULL, 0, 0, 0, 0, 0.0, NULL};
  return info;
}

/** Fills in struct_size bytes, as kiln_runtime_stats() does. */
KILN_API kiln_status kiln_forward_info(const kiln_forward_kernel* kernel, kiln_kernel_info* info);
KILN_API kiln_status kiln_decode_info(const kiln_decode_kernel* kernel, kiln_kernel_info* info);
KILN_API kiln_status kiln_merge_info(const kiln_merge_kernel* kernel, kiln_kernel_info* info);

/* ---- Decode of a shared prefix ---- */

/** Decode of a batch whose sequences share a prefix, which is read once for all of them: attention over the prefix,
 * attention over what each sequence has of its own, and a merge of the two; three kernels one after the other. It is
 * owned, and launched, as a kernel is. */
typedef struct kiln_shared_prefix_decode kiln_shared_prefix_decode;

/** Gets all three kernels, each as kiln_decode_get() and kiln_merge_get() do. What hides or shifts keys by their
 * position (windows, ALiBi, a bias, a top-left diagonal) is refused. */
KILN_API kiln_status kiln_shared_prefix_get(const kiln_runtime* runtime, const kiln_attention_config* config,
                                            kiln_shared_prefix_decode** decode);
KILN_API kiln_status kiln_shared_prefix_retain(kiln_shared_prefix_decode* decode);
KILN_API void kiln_shared_prefix_release(kiln_shared_prefix_decode* decode);

/** `args` is of each sequence's own keys, the new tokens' included, as if there were no prefix: lengths, pages and all
 * else count from the first key behind it. Queries lie one behind the other: packed, total_q just the last entry of
 * cu_seqlens_q, or so that q.strides.batch = len_q · q.strides.row. seqused_q is refused: pack them instead. */
KILN_API kiln_status kiln_shared_prefix_launch(const kiln_shared_prefix_decode* decode, kiln_stream stream,
                                               const kiln_decode_args* args, const kiln_shared_prefix* prefix);

/** Exact size of the workspace that a call with these shapes needs, in place of kiln_decode_workspace_bytes(); pointers
 * are not looked at. It is zeroed once, and one for all calls on a stream may be as large as the largest. */
KILN_API kiln_status kiln_shared_prefix_workspace_bytes(const kiln_shared_prefix_decode* decode,
                                                        const kiln_decode_args* args, const kiln_shared_prefix* prefix,
                                                        size_t* bytes);

#ifdef __cplusplus
}
#endif

#endif
