//! Distance kernels: the best the CPU has, chosen once at first use. Both slices of a pair have the same
//! length; of a longer one the rest is ignored. Knows no metric, file or graph.

mod portable;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub(crate) use portable::widen;

type F32Kernel = unsafe fn(&[f32], &[f32]) -> f32;
type IntegerKernel = unsafe fn(&[u8], &[i8]) -> i32;
/// One query and four vectors of its length.
type FourKernel = unsafe fn([&[u8]; 4], &[i8]) -> [i32; 4];
type CosineKernel = unsafe fn(&[f32], &[f32]) -> (f32, f32, f32);
/// Rows of f16, given as their bits.
type F16Kernel = unsafe fn(&[f32], &[u16]) -> f32;
type F16CosineKernel = unsafe fn(&[f32], &[u16]) -> (f32, f32, f32);

/// One implementation of every kernel. They are `unsafe fn` because each may need CPU features; a value of
/// this type is only made where those were found.
struct Kernels {
    name: &'static str,
    l2_squared: F32Kernel,
    dot: F32Kernel,
    l1: F32Kernel,
    dot_and_norms: CosineKernel,
    l2_squared_f16: F16Kernel,
    dot_f16: F16Kernel,
    l1_f16: F16Kernel,
    dot_and_norms_f16: F16CosineKernel,
    hamming: unsafe fn(&[u8], &[u8]) -> u32,
    common_bits: unsafe fn(&[u8], &[u8]) -> (u32, u32),
    dot_u8_i8: IntegerKernel,
    dot4_u8_i8: FourKernel,
    dot_u1_i8: IntegerKernel,
    dot_u2_i8: IntegerKernel,
    dot_u4_i8: IntegerKernel,
    l1_u8: unsafe fn(&[u8], &[u8]) -> i32,
}

const PORTABLE: Kernels = Kernels {
    name: "portable",
    l2_squared: portable::l2_squared,
    dot: portable::dot,
    l1: portable::l1,
    dot_and_norms: portable::dot_and_norms,
    l2_squared_f16: portable::l2_squared_f16,
    dot_f16: portable::dot_f16,
    l1_f16: portable::l1_f16,
    dot_and_norms_f16: portable::dot_and_norms_f16,
    hamming: portable::hamming,
    common_bits: portable::common_bits,
    dot_u8_i8: portable::dot_u8_i8,
    dot4_u8_i8: portable::dot4_u8_i8,
    dot_u1_i8: portable::dot_packed::<1>,
    dot_u2_i8: portable::dot_packed::<2>,
    dot_u4_i8: portable::dot_packed::<4>,
    l1_u8: portable::l1_u8,
};

fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| available().last().copied().unwrap_or(&PORTABLE))
}

/// What this CPU can run, the best last.
fn available() -> Vec<&'static Kernels> {
    #[cfg(target_arch = "x86_64")]
    return [&PORTABLE].into_iter().chain(x86::available()).collect();
    #[cfg(target_arch = "aarch64")]
    return [&PORTABLE].into_iter().chain(neon::available()).collect();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return vec![&PORTABLE];
}

/// The kernels in use, for logs: "avx512vnni, vpopcntdq", "avx512vnni", "avx512", "avx2", "neon" or "portable".
pub fn kernel_name() -> &'static str {
    kernels().name
}

fn same_length<'a, 'b, A, B>(a: &'a [A], b: &'b [B]) -> (&'a [A], &'b [B]) {
    let len = a.len().min(b.len());
    (&a[..len], &b[..len])
}

/// The sum of squared differences.
#[inline]
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = same_length(a, b);
    // SAFETY: `kernels` only holds kernels whose CPU features were detected; the lengths are equal.
    unsafe { (kernels().l2_squared)(a, b) }
}

/// The inner product.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().dot)(a, b) }
}

/// The sum of absolute differences.
#[inline]
pub fn l1(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().l1)(a, b) }
}

/// `(a·b, a·a, b·b)` in one pass: what a cosine needs.
#[inline]
pub fn dot_and_norms(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().dot_and_norms)(a, b) }
}

/// [`l2_squared`] of a vector of f16, given as their bits.
#[inline]
pub fn l2_squared_f16(a: &[f32], b: &[u16]) -> f32 {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().l2_squared_f16)(a, b) }
}

/// [`dot`] of a vector of f16, given as their bits.
#[inline]
pub fn dot_f16(a: &[f32], b: &[u16]) -> f32 {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().dot_f16)(a, b) }
}

/// [`l1`] of a vector of f16, given as their bits.
#[inline]
pub fn l1_f16(a: &[f32], b: &[u16]) -> f32 {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().l1_f16)(a, b) }
}

/// [`dot_and_norms`] of a vector of f16, given as their bits.
#[inline]
pub fn dot_and_norms_f16(a: &[f32], b: &[u16]) -> (f32, f32, f32) {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().dot_and_norms_f16)(a, b) }
}

/// How many bits differ.
#[inline]
pub fn hamming(a: &[u8], b: &[u8]) -> u32 {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().hamming)(a, b) }
}

/// How many bits are ones in both, and how many in at least one: what a Jaccard distance needs.
#[inline]
pub fn common_bits(a: &[u8], b: &[u8]) -> (u32, u32) {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().common_bits)(a, b) }
}

/// The cosine of the angle between two vectors; NaN when either is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (dot, norm_a, norm_b) = dot_and_norms(a, b);
    (f64::from(dot) / (f64::from(norm_a) * f64::from(norm_b)).sqrt()).clamp(-1.0, 1.0) as f32
}

/// The Euclidean norm.
pub fn norm(a: &[f32]) -> f32 {
    f64::from(dot(a, a)).sqrt() as f32
}

/// The inner product of a quantised vector and a quantised query.
#[inline]
pub fn dot_u8_i8(codes: &[u8], query: &[i8]) -> i32 {
    let (codes, query) = same_length(codes, query);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().dot_u8_i8)(codes, query) }
}

/// [`dot_u8_i8`] of four vectors and one query, which costs less than four times one. Of longer vectors the rest is ignored; all are
/// taken for as long as the shortest.
#[inline]
pub fn dot4_u8_i8(codes: [&[u8]; 4], query: &[i8]) -> [i32; 4] {
    let len = codes.iter().fold(query.len(), |len, codes| len.min(codes.len()));
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().dot4_u8_i8)(codes.map(|codes| &codes[..len]), &query[..len]) }
}

/// As much of a plane as there is a query for, and the query of just that much.
fn same_values<'a, 'b>(plane: &'a [u8], query: &'b [i8], in_byte: usize) -> (&'a [u8], &'b [i8]) {
    let len = plane.len().min(query.len() / in_byte);
    (&plane[..len], &query[..len * in_byte])
}

/// The inner product of a plane of one-bit numbers and a quantised query. Of a plane of `n` bytes, bit `i` of byte `j` is
/// dimension `i * n + j`: a register full of bytes, shifted and masked, meets a stretch of the query as it lies.
#[inline]
pub fn dot_u1_i8(plane: &[u8], query: &[i8]) -> i32 {
    let (plane, query) = same_values(plane, query, 8);
    // SAFETY: as in `l2_squared`; the query has eight values for each byte.
    unsafe { (kernels().dot_u1_i8)(plane, query) }
}

/// As [`dot_u1_i8`], of two-bit numbers: the `i`th lowest of byte `j` of `n` is dimension `i * n + j`.
#[inline]
pub fn dot_u2_i8(plane: &[u8], query: &[i8]) -> i32 {
    let (plane, query) = same_values(plane, query, 4);
    // SAFETY: as in `l2_squared`; the query has four values for each byte.
    unsafe { (kernels().dot_u2_i8)(plane, query) }
}

/// As [`dot_u1_i8`], of four-bit numbers: the lower half of byte `j` of `n` is dimension `j`, the upper `n + j`.
#[inline]
pub fn dot_u4_i8(plane: &[u8], query: &[i8]) -> i32 {
    let (plane, query) = same_values(plane, query, 2);
    // SAFETY: as in `l2_squared`; the query has two values for each byte.
    unsafe { (kernels().dot_u4_i8)(plane, query) }
}

/// The sum of absolute differences of two quantised vectors.
#[inline]
pub fn l1_u8(a: &[u8], b: &[u8]) -> i32 {
    let (a, b) = same_length(a, b);
    // SAFETY: as in `l2_squared`.
    unsafe { (kernels().l1_u8)(a, b) }
}

/// To the nearest whole number, ties to even, for numbers up to four million: beyond that an f32 has no place for a fraction. Without SSE
/// 4.1, which not every x86 has, the function of the standard library is a call.
#[inline(always)]
pub(crate) fn round_even(value: f32) -> f32 {
    (value + WHOLE) - WHOLE
}

/// The lowest byte of a whole number from -128 to 255, without a conversion that has to look for numbers out of range.
#[inline(always)]
pub(crate) fn whole_byte(whole: f32) -> u8 {
    (whole + WHOLE).to_bits() as u8
}

/// 1.5 * 2^23: what is added to it loses its fraction, and stands in its lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// Asks the CPU to fetch the first 2 KiB of `data` into its second cache: more lines can be on their way there than to the first.
#[inline(always)]
pub(crate) fn prefetch<T>(data: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        for offset in (0..size_of_val(data)).step_by(64).take(32) {
            // SAFETY: a prefetch reads nothing that the program sees, whatever the address.
            unsafe { _mm_prefetch(data.as_ptr().cast::<i8>().wrapping_add(offset), _MM_HINT_T1) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = data;
}

#[cfg(test)]
mod tests;
