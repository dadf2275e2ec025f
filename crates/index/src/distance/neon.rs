//! Kernels for AArch64, where NEON is always there. Compared with the portable ones under emulation by `scripts/neon`; never timed on
//! such a CPU.

use super::portable::widen;
use super::{Kernels, PORTABLE};
use std::arch::aarch64::*;
use std::arch::asm;

const LANES: usize = 4;

const NEON: Kernels = Kernels {
    name: "neon",
    l2_squared,
    dot,
    l1,
    l2_squared_f16,
    dot_f16,
    l1_f16,
    dot_and_norms_f16,
    hamming,
    common_bits,
    dot_u1_i8: dot_packed::<1>,
    dot_u2_i8: dot_packed::<2>,
    dot_u4_i8: dot_packed::<4>,
    ..PORTABLE
};

pub(super) fn available() -> Vec<&'static Kernels> {
    vec![&NEON]
}

/// # Safety
/// Four numbers lie there; no alignment is needed.
#[target_feature(enable = "neon")]
unsafe fn load(from: *const f32) -> float32x4_t {
    // SAFETY: as promised.
    unsafe { vld1q_f32(from) }
}

/// # Safety
/// As for `load`.
#[target_feature(enable = "neon")]
unsafe fn load_f16(from: *const u16) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: as promised; the instruction, for which there is no stable function, changes one register.
    unsafe {
        let halves = vld1_u16(from);
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) wide, in(vreg) halves, options(pure, nomem, nostack, preserves_flags));
    }
    wide
}

/// Sums `step` over whole registers in four independent chains, then `rest` over the tail.
macro_rules! kernel {
    ($name:ident, $number:ty, $load:ident, $widen:path, |$acc:ident, $x:ident, $y:ident| $step:expr, |$p:ident, $q:ident| $rest:expr) => {
        #[target_feature(enable = "neon")]
        fn $name(a: &[f32], b: &[$number]) -> f32 {
            let len = a.len().min(b.len());
            let whole = len - len % LANES;
            let mut sums = [vdupq_n_f32(0.0); 4];
            for (turn, at) in (0..whole).step_by(LANES).enumerate() {
                // SAFETY: at + LANES <= whole <= both lengths.
                let ($x, $y) = unsafe { (load(a.as_ptr().add(at)), $load(b.as_ptr().add(at))) };
                let $acc = sums[turn % 4];
                sums[turn % 4] = $step;
            }
            let sum = vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3]));
            let rest = |($p, $q): (&f32, &$number)| {
                let ($p, $q) = (*$p, $widen(*$q));
                $rest
            };
            let tail: f32 = a[whole..len].iter().zip(&b[whole..len]).map(rest).sum();
            vaddvq_f32(sum) + tail
        }
    };
}

/// The same for rows of f32 and of f16.
macro_rules! kernels {
    ($name:ident, $f16:ident, |$acc:ident, $x:ident, $y:ident| $step:expr, |$p:ident, $q:ident| $rest:expr) => {
        kernel!($name, f32, load, f32::from, |$acc, $x, $y| $step, |$p, $q| $rest);
        kernel!($f16, u16, load_f16, widen, |$acc, $x, $y| $step, |$p, $q| $rest);
    };
}

kernels!(
    l2_squared,
    l2_squared_f16,
    |acc, x, y| {
        let difference = vsubq_f32(x, y);
        vfmaq_f32(acc, difference, difference)
    },
    |p, q| (p - q) * (p - q)
);
kernels!(dot, dot_f16, |acc, x, y| vfmaq_f32(acc, x, y), |p, q| p * q);
kernels!(l1, l1_f16, |acc, x, y| vaddq_f32(acc, vabdq_f32(x, y)), |p, q| (p - q).abs());

#[target_feature(enable = "neon")]
fn dot_and_norms_f16(a: &[f32], b: &[u16]) -> (f32, f32, f32) {
    let len = a.len().min(b.len());
    let whole = len - len % LANES;
    // Two chains each: what rounding is allowed for counts on at least eight lanes.
    let [mut ab, mut aa, mut bb] = [[vdupq_n_f32(0.0); 2]; 3];
    for (turn, at) in (0..whole).step_by(LANES).enumerate() {
        // SAFETY: at + LANES <= whole <= both lengths.
        let (x, y) = unsafe { (load(a.as_ptr().add(at)), load_f16(b.as_ptr().add(at))) };
        ab[turn % 2] = vfmaq_f32(ab[turn % 2], x, y);
        aa[turn % 2] = vfmaq_f32(aa[turn % 2], x, x);
        bb[turn % 2] = vfmaq_f32(bb[turn % 2], y, y);
    }
    let [ab, aa, bb] = [ab, aa, bb].map(|[even, odd]| vaddq_f32(even, odd));
    let rest = super::portable::dot_and_norms_f16(&a[whole..len], &b[whole..len]);
    (vaddvq_f32(ab) + rest.0, vaddvq_f32(aa) + rest.1, vaddvq_f32(bb) + rest.2)
}

#[target_feature(enable = "neon")]
fn dot_packed<const WIDTH: i32>(plane: &[u8], query: &[i8]) -> i32 {
    const STEP: usize = 16;
    let len = plane.len().min(query.len() * WIDTH as usize / 8);
    let whole = len - len % STEP;
    let mask = vdupq_n_u8((1 << WIDTH) - 1);
    let mut sum = vdupq_n_s32(0);
    for at in (0..whole).step_by(STEP) {
        // SAFETY: at + STEP <= whole <= the plane's length; the load needs no alignment.
        let mut bytes = unsafe { vld1q_u8(plane.as_ptr().add(at)) };
        for stretch in 0..8 / WIDTH as usize {
            // SAFETY: each stretch of the query is as long as the plane.
            let y = unsafe { vld1q_s8(query.as_ptr().add(stretch * len + at)) };
            // Below 16, so the sign does not matter.
            let x = vreinterpretq_s8_u8(vandq_u8(bytes, mask));
            sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
            sum = vpadalq_s16(sum, vmull_high_s8(x, y));
            bytes = vshrq_n_u8::<WIDTH>(bytes);
        }
    }
    vaddvq_s32(sum) + super::portable::dot_packed_from::<WIDTH>(&plane[..len], query, whole)
}

/// The ones of 16 bytes, as two numbers.
#[target_feature(enable = "neon")]
fn ones(bytes: uint8x16_t) -> uint64x2_t {
    vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(vcntq_u8(bytes))))
}

#[target_feature(enable = "neon")]
fn hamming(a: &[u8], b: &[u8]) -> u32 {
    const STEP: usize = 16;
    let len = a.len().min(b.len());
    let whole = len - len % STEP;
    let mut sum = vdupq_n_u64(0);
    for at in (0..whole).step_by(STEP) {
        // SAFETY: at + STEP <= whole <= both lengths; the loads need no alignment.
        let (x, y) = unsafe { (vld1q_u8(a.as_ptr().add(at)), vld1q_u8(b.as_ptr().add(at))) };
        sum = vaddq_u64(sum, ones(veorq_u8(x, y)));
    }
    vaddvq_u64(sum) as u32 + super::portable::hamming(&a[whole..len], &b[whole..len])
}

#[target_feature(enable = "neon")]
fn common_bits(a: &[u8], b: &[u8]) -> (u32, u32) {
    const STEP: usize = 16;
    let len = a.len().min(b.len());
    let whole = len - len % STEP;
    let [mut both, mut either] = [vdupq_n_u64(0); 2];
    for at in (0..whole).step_by(STEP) {
        // SAFETY: at + STEP <= whole <= both lengths; the loads need no alignment.
        let (x, y) = unsafe { (vld1q_u8(a.as_ptr().add(at)), vld1q_u8(b.as_ptr().add(at))) };
        both = vaddq_u64(both, ones(vandq_u8(x, y)));
        either = vaddq_u64(either, ones(vorrq_u8(x, y)));
    }
    let rest = super::portable::common_bits(&a[whole..len], &b[whole..len]);
    (vaddvq_u64(both) as u32 + rest.0, vaddvq_u64(either) as u32 + rest.1)
}
