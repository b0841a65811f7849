/* Many runs of one training at once, one in each lane of the processor's vectors.

   The bodies of step and evaluation are generated; see translate.py. A block is up to LANES runs of one replicate, which see
   the same batches: data is uniform, parameters vary from lane to lane. Memory of a varying tensor: element by element, LANES
   numbers each. Blocks are independent of each other, so that they may be dealt out to threads in any way. */
#define _GNU_SOURCE /* for MADV_HUGEPAGE */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define EXACTLY $exactly
#if EXACTLY
#pragma GCC optimize("fp-contract=off")
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

typedef $real real;
typedef $input input;   /* an element of a sample */
typedef $target target; /* what is to be predicted */
#define F(name) $function
#define LANES $lanes /* of a block, 1 for a run alone */
#define WIDE $wide   /* numbers in a vector */
#define BATCH $batch         /* samples in a training step */
#define EVALUATED $evaluated /* samples in an evaluation step */
#define FEATURES $features   /* elements in a sample */
#define TARGETS $targets     /* of a sample, its weight among them */
#define STATE $state         /* varying numbers that a run keeps: parameters and the optimizer's own */
#define KINDS $kinds         /* numbers that an update needs per step */
#define LARGE_PAGE (2 << 20) /* bytes */

typedef real vec __attribute__((vector_size(LANES * sizeof(real)), aligned(sizeof(real)), may_alias));
#define VEC(name, place) (*(vec *)&(name)[(place) * LANES])
#define ONE_LANE for (int l = 0; l < 1; l++)
#if LANES > 1
#define ALL_LANES _Pragma("omp simd") for (int l = 0; l < LANES; l++)
#else
#define ALL_LANES ONE_LANE /* vectors are then of elements that lie side by side */
#endif
typedef real row __attribute__((vector_size(WIDE * sizeof(real)), aligned(sizeof(real)), may_alias));

/* glibc has these for whole vectors. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define OF_VECTORS __attribute__((__simd__("notinbranch"))) extern
OF_VECTORS real F(exp)(real);
OF_VECTORS real F(log)(real);
OF_VECTORS real F(sin)(real);
OF_VECTORS real F(cos)(real);
OF_VECTORS real F(pow)(real, real);
#if __GLIBC__ > 2 || __GLIBC_MINOR__ >= 35
OF_VECTORS real F(tanh)(real);
OF_VECTORS real F(erf)(real);
OF_VECTORS real F(expm1)(real);
OF_VECTORS real F(log1p)(real);
#endif
#endif

/* Where every rounding is written out, so that it is the same in whatever vectors: sums of products, and functions of vectors,
   which round in their own way. */
#if EXACTLY
#define ALL(a) ((a) - (row){0})
#ifdef __FMA__
/* By the compilers' own names: reading immintrin.h takes half a second. */
typedef real fused __attribute__((vector_size(WIDE * sizeof(real))));
#if defined(__clang__)
#define FUSED(a, b, c) ((row)__builtin_elementwise_fma((fused)(a), (fused)(b), (fused)(c)))
#elif defined(__AVX512F__)
#define FUSED(a, b, c) ((row)__builtin_ia32_vfmaddps512_mask((fused)(a), (fused)(b), (fused)(c), -1, 4))
#else
#define FUSED(a, b, c) ((row)__builtin_ia32_vfmaddps256((fused)(a), (fused)(b), (fused)(c)))
#endif
#define FUSED_ONE(a, b, c) __builtin_fmaf(a, b, c)
#else
#define FUSED(a, b, c) ((c) + (a) * (b))
#define FUSED_ONE(a, b, c) ((c) + (a) * (b))
#endif
#define OF_MANY(name)                                                                                        \
  static __attribute__((noinline)) void name##_of_row(real *restrict to, const real *restrict from) {        \
    _Pragma("omp simd") for (int l = 0; l < WIDE; l++) to[l] = F(name)(from[l]);                             \
  }                                                                                                          \
  static void name##_of(real *restrict to, const real *restrict from, long count) {                          \
    const long whole = count - count % WIDE;                                                                 \
    for (long i = 0; i < whole; i += WIDE) name##_of_row(to + i, from + i);                                  \
    if (whole == count) return;                                                                              \
    real rest[WIDE] = {0}, found[WIDE];                                                                      \
    memcpy(rest, from + whole, (count - whole) * sizeof(real));                                              \
    name##_of_row(found, rest);                                                                              \
    memcpy(to + whole, found, (count - whole) * sizeof(real));                                               \
  }
OF_MANY(exp) OF_MANY(log) OF_MANY(sin) OF_MANY(cos) OF_MANY(tanh) OF_MANY(erf) OF_MANY(expm1) OF_MANY(log1p)
#endif

/* No whole number is -0, but of a fraction that is cut off GCC makes that, unless it must add what it cannot see to be 0. */
real nought = 0;
static inline real real_of(int64_t whole) { return (real)whole + nought; }

/* As torch has them: NaN spreads. */
static inline real maximum(real a, real b) { return a != a || a > b ? a : b; }
static inline real minimum(real a, real b) { return a != a || a < b ? a : b; }
static inline real at_least(real a, real b) { return a < b ? b : a; }
static inline real at_most(real a, real b) { return a > b ? b : a; }
static inline real relu(real a) { return a <= 0 ? 0 : a; }
static inline real absolute(real a) { return F(fabs)(a); }
static inline real sign(real a) { return (a > 0) - (a < 0); }
static inline real square(real a) { return a * a; }
static inline real cube(real a) { return a * a * a; }
static inline int is_before(real a, real b) { return (a > b || a != a) && b == b; }
static inline int is_behind(real a, real b) { return (a < b || a != a) && b == b; }
static inline real remainder_of(real a, real b) {
  const real rest = F(fmod)(a, b);
  return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}
static inline real floor_divided(real a, real b) {
  if (b == 0) return a / b;
  const real rest = F(fmod)(a, b), whole = (a - rest) / b - (rest != 0 && (b < 0) != (rest < 0));
  if (whole == 0) return F(copysign)(0, a / b);
  const real down = F(floor)(whole);
  return whole - down > (real)0.5 ? down + 1 : down;
}

/* Whole numbers wrap around, as torch's do: in C the unsigned ones alone. */
static inline int64_t whole_sum(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static inline int64_t whole_difference(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }
static inline int64_t whole_product(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }
static inline int64_t whole_absolute(int64_t a) { return a < 0 ? whole_difference(0, a) : a; }
static inline int64_t whole_sign(int64_t a) { return (a > 0) - (a < 0); }
static inline int64_t whole_quotient(int64_t a, int64_t b) { return a / b; }
static inline int64_t whole_truncated_remainder(int64_t a, int64_t b) { return a % b; }
static inline int64_t whole_floor_divided(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }
static inline int64_t whole_remainder(int64_t a, int64_t b) {
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
static inline int64_t whole_power(int64_t a, int64_t exponent) {
  if (exponent < 0) return a == 1 ? 1 : a == -1 ? (exponent % 2 ? -1 : 1) : 0;
  int64_t result = 1;
  for (; exponent; exponent /= 2, a = whole_product(a, a))
    if (exponent % 2) result = whole_product(result, a);
  return result;
}
static inline int whole_is_before(int64_t a, int64_t b) { return a > b; }
static inline int whole_is_behind(int64_t a, int64_t b) { return a < b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t whole_wrapped(int64_t index, int64_t size) { return index < 0 ? index + size : index; }
static inline int is_outside(int64_t index, int64_t size) { return index < 0 || index >= size; }
static inline int64_t shifted_right(int64_t a, int64_t by) { return by < 0 || by > 63 ? -(a < 0) : a >> by; }

$functions
struct step_scratch { $step_scratch };
struct evaluation_scratch { $evaluation_scratch };

struct work {
  input x[(BATCH > EVALUATED ? BATCH : EVALUATED) * FEATURES] __attribute__((aligned(64)));
  target y[(BATCH > EVALUATED ? BATCH : EVALUATED) * TARGETS] __attribute__((aligned(64)));
  real w[EVALUATED] __attribute__((aligned(64)));
  real states[2][STATE * LANES] __attribute__((aligned(64))); /* before and after a step, in turns */
  real *state, *next;
  real numbers[KINDS * LANES] __attribute__((aligned(64)));
  real sums[2 * LANES] __attribute__((aligned(64)));
  double losses[LANES];
  struct step_scratch step;
  struct evaluation_scratch evaluation;
};

/* One optimizer step of the runs in a block: their state, the numbers of the step, the batch → their next state, their loss. */
static void step(struct step_scratch *restrict scratch, const real *restrict state, const real *restrict numbers,
                 const input *restrict x, const target *restrict y, const real *restrict w, real *restrict next,
                 real *restrict loss) {
$step
}

/* The weighted sums of losses and metrics of the runs in a block over a few samples. */
static void evaluation(struct evaluation_scratch *restrict scratch, const real *restrict state, const input *restrict x,
                       const target *restrict y, const real *restrict w, real *restrict loss, real *restrict metric) {
$evaluation
}

struct job {
  int64_t runs, replicates, epochs, steps, evaluated;
  const int64_t *runs_of;   /* the runs in each block, (blocks, LANES); one that stands twice only fills a lane */
  const int64_t *counts;    /* of runs in each block, (blocks,) */
  const int64_t *replicate; /* of each run, (runs,) */
  const input *x;           /* (samples, FEATURES) */
  const target *y;          /* (samples, TARGETS) */
  const int32_t *rows;      /* samples of each step: (epochs, replicates, steps, BATCH) */
  const real *weights;      /* of the samples in a batch's mean: (steps, BATCH) */
  const double *sizes;      /* samples in a batch: (steps,) */
  const double *numbers;    /* of the update: (epochs, steps, KINDS, runs) */
  real *state;              /* (runs, STATE), in and out */
  double *losses;           /* the samples' sum of each epoch: (epochs, runs), out */
  const uint8_t *is_evaluated;              /* after each epoch: (epochs,) */
  const int32_t *evaluated_rows;            /* (replicates, evaluated) */
  double *evaluated_losses, *evaluated_metrics; /* sums over the samples: (epochs, runs), out */
};

static void gather(const struct job *job, struct work *work, const int32_t *rows, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    memcpy(work->x + i * FEATURES, job->x + (int64_t)rows[i] * FEATURES, FEATURES * sizeof(input));
    memcpy(work->y + i * TARGETS, job->y + (int64_t)rows[i] * TARGETS, TARGETS * sizeof(target));
  }
}

static void evaluate(const struct job *job, struct work *work, int64_t epoch, int64_t block) {
  const int64_t *runs = job->runs_of + block * LANES;
  const int32_t *rows = job->evaluated_rows + job->replicate[runs[0]] * job->evaluated;
  double losses[LANES] = {0}, metrics[LANES] = {0};
  for (int64_t done = 0; done < job->evaluated; done += EVALUATED) {
    const int64_t count = job->evaluated - done < EVALUATED ? job->evaluated - done : EVALUATED;
    gather(job, work, rows + done, count);
    for (int64_t i = 0; i < EVALUATED; i++) work->w[i] = i < count;
    evaluation(&work->evaluation, work->state, work->x, work->y, work->w, work->sums, work->sums + LANES);
    for (int l = 0; l < LANES; l++) losses[l] += work->sums[l];
    for (int l = 0; l < LANES; l++) metrics[l] += work->sums[LANES + l];
  }
  for (int64_t l = 0; l < job->counts[block]; l++) {
    job->evaluated_losses[epoch * job->runs + runs[l]] = losses[l];
    job->evaluated_metrics[epoch * job->runs + runs[l]] = metrics[l];
  }
}

static void train(const struct job *job, struct work *work, int64_t epoch, int64_t block) {
  const int64_t *runs = job->runs_of + block * LANES;
  const int32_t *rows = job->rows + (epoch * job->replicates + job->replicate[runs[0]]) * job->steps * BATCH;
  memset(work->losses, 0, sizeof work->losses);
  for (int64_t s = 0; s < job->steps; s++) {
    const double *numbers = job->numbers + (epoch * job->steps + s) * KINDS * job->runs;
    gather(job, work, rows + s * BATCH, BATCH);
    for (int64_t k = 0; k < KINDS; k++)
      for (int l = 0; l < LANES; l++) work->numbers[k * LANES + l] = numbers[k * job->runs + runs[l]];
    step(&work->step, work->state, work->numbers, work->x, work->y, job->weights + s * BATCH, work->next, work->sums);
    for (int l = 0; l < LANES; l++) work->losses[l] += job->sizes[s] * work->sums[l];
    real *before = work->state;
    work->state = work->next;
    work->next = before;
  }
  for (int64_t l = 0; l < job->counts[block]; l++) job->losses[epoch * job->runs + runs[l]] = work->losses[l];
}

/* The runs of a block through all epochs of the job; where it has none, they are evaluated. */
static void run_block(const struct job *job, struct work *work, int64_t block) {
  const int64_t *runs = job->runs_of + block * LANES;
  work->state = work->states[0];
  work->next = work->states[1];
  for (int l = 0; l < LANES; l++)
    for (int64_t i = 0; i < STATE; i++) work->state[i * LANES + l] = job->state[runs[l] * STATE + i];
  if (job->epochs == 0) evaluate(job, work, 0, block);
  for (int64_t epoch = 0; epoch < job->epochs; epoch++) {
    train(job, work, epoch, block);
    if (job->is_evaluated[epoch]) evaluate(job, work, epoch, block);
  }
  for (int64_t l = 0; l < job->counts[block]; l++)
    for (int64_t i = 0; i < STATE; i++) job->state[runs[l] * STATE + i] = work->state[i * LANES + l];
}

/* Zeroed, or NULL. In pages as large as there are: of small ones, which lie scattered, some get in each other's way in the
   caches, and products take half as long again. */
static struct work *new_work(void) {
  const size_t page = sizeof(struct work) < LARGE_PAGE / 2 ? 64 : LARGE_PAGE;
  const size_t size = (sizeof(struct work) + page - 1) / page * page;
  struct work *work = aligned_alloc(page, size);
  if (work == NULL) return NULL;
#ifdef MADV_HUGEPAGE
  if (page == LARGE_PAGE) madvise(work, size, MADV_HUGEPAGE);
#endif
  return memset(work, 0, sizeof(struct work));
}

const int exactly = EXACTLY;
const int64_t terms = $terms; /* multiplications of a run's step, in matrix products and convolutions */

/* Block after block, while there are any; `next` is the first that nobody has begun. 0, or 1 where there is no memory. */
int run(const struct job *job, int64_t blocks, int64_t *next) {
  struct work *work = new_work();
  if (work == NULL) return 1;
  for (int64_t block; (block = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < blocks;) run_block(job, work, block);
  free(work);
  return 0;
}
