#define TILE $tile             /* samples that are dealt with together */
#define PARAMETERS $parameters /* varying numbers that have a gradient */

struct gradients_scratch { $gradients_scratch };
struct update_scratch { $update_scratch };
struct tiles {
  real total[PARAMETERS * LANES] __attribute__((aligned(64)));
  real part[PARAMETERS * LANES] __attribute__((aligned(64)));
  real loss[LANES] __attribute__((aligned(64)));
  real numbers[(KINDS + 1) * LANES] __attribute__((aligned(64))); /* those of the step, then a tile's first sample */
  struct gradients_scratch gradients;
  struct update_scratch update;
};

/* The gradients of a tile's share of the batch's loss, and that share. */
static void gradients(struct gradients_scratch *restrict scratch, const real *restrict state, const real *restrict numbers,
                      const input *restrict x, const target *restrict y, const real *restrict w, real *restrict found,
                      real *restrict loss) {
$gradients
}

/* The state behind a step along the gradients. */
static void update(struct update_scratch *restrict scratch, const real *restrict state, const real *restrict gradients,
                   const real *restrict numbers, real *restrict next) {
$update
}

/* An optimizer step, tile by tile, so that what a tile needs stays in the cache. */
static void in_tiles(struct tiles *restrict tiles, const real *restrict state, const real *restrict numbers,
                     const input *restrict x, const target *restrict y, const real *restrict w, real *restrict next,
                     real *restrict loss) {
  memcpy(tiles->numbers, numbers, KINDS * LANES * sizeof(real));
  VEC(tiles->numbers, KINDS) = (vec){0};
  gradients(&tiles->gradients, state, tiles->numbers, x, y, w, tiles->total, loss);
  for (long first = TILE; first < BATCH; first += TILE) {
    VEC(tiles->numbers, KINDS) += TILE;
    gradients(&tiles->gradients, state, tiles->numbers, x + first * FEATURES, y + first * TARGETS, w + first, tiles->part, tiles->loss);
    for (long i = 0; i < PARAMETERS * LANES; i++) tiles->total[i] += tiles->part[i];
    VEC(loss, 0) += VEC(tiles->loss, 0);
  }
  update(&tiles->update, state, tiles->total, numbers, next);
}
