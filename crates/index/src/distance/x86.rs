//! Kernels for x86-64: AVX2 with FMA and F16C, AVX-512, AVX-512 with VNNI for the quantised inner product, and with VPOPCNTDQ for bits.
//!
//! Every function is called with two slices of one length on a CPU that has the features it is compiled for;
//! the loads stay below that length.

use super::Kernels;
use std::arch::x86_64::*;

const AVX2: Kernels = Kernels {
    name: "avx2",
    l2_squared: avx2::l2_squared,
    dot: avx2::dot,
    l1: avx2::l1,
    dot_and_norms: avx2::dot_and_norms,
    l2_squared_f16: avx2::l2_squared_f16,
    dot_f16: avx2::dot_f16,
    l1_f16: avx2::l1_f16,
    dot_and_norms_f16: avx2::dot_and_norms_f16,
    hamming: avx2::hamming,
    common_bits: avx2::common_bits,
    dot_u8_i8: avx2::dot_u8_i8,
    dot4_u8_i8: avx2::dot4_u8_i8,
    dot_u1_i8: avx2::dot_packed::<1>,
    dot_u2_i8: avx2::dot_packed::<2>,
    dot_u4_i8: avx2::dot_packed::<4>,
    l1_u8: avx2::l1_u8,
};

const AVX512: Kernels = Kernels {
    name: "avx512",
    l2_squared: avx512::l2_squared,
    dot: avx512::dot,
    l1: avx512::l1,
    dot_and_norms: avx512::dot_and_norms,
    l2_squared_f16: avx512::l2_squared_f16,
    dot_f16: avx512::dot_f16,
    l1_f16: avx512::l1_f16,
    dot_and_norms_f16: avx512::dot_and_norms_f16,
    hamming: avx2::hamming,
    common_bits: avx2::common_bits,
    dot_u8_i8: avx512::dot_u8_i8,
    dot4_u8_i8: avx2::dot4_u8_i8,
    dot_u1_i8: avx512::dot_packed::<1>,
    dot_u2_i8: avx512::dot_packed::<2>,
    dot_u4_i8: avx512::dot_packed::<4>,
    l1_u8: avx512::l1_u8,
};

const AVX512_VNNI: Kernels = Kernels {
    name: "avx512vnni",
    dot_u8_i8: avx512::dot_u8_i8_vnni,
    dot4_u8_i8: avx512::dot4_u8_i8_vnni,
    ..AVX512
};

const AVX512_BITS: Kernels = Kernels {
    name: "avx512vnni, vpopcntdq",
    hamming: avx512::hamming,
    common_bits: avx512::common_bits,
    ..AVX512_VNNI
};

/// What this CPU can run, the best last.
pub(super) fn available() -> Vec<&'static Kernels> {
    let mut found: Vec<&'static Kernels> = Vec::new();
    // All that have the first have the others.
    let has_more = || is_x86_feature_detected!("f16c") && is_x86_feature_detected!("popcnt");
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && has_more() {
        found.push(&AVX2);
    }
    // All that have the second have the first.
    if !found.is_empty() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        found.push(&AVX512);
        if is_x86_feature_detected!("avx512vnni") {
            found.push(&AVX512_VNNI);
            if is_x86_feature_detected!("avx512vpopcntdq") {
                found.push(&AVX512_BITS);
            }
        }
    }
    found
}

mod avx2 {
    use super::super::portable::widen;
    use super::*;

    const LANES: usize = 8;

    #[target_feature(enable = "avx2,fma")]
    fn sum_f32(v: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
    }

    #[target_feature(enable = "avx2,fma")]
    fn sum_i32(v: __m256i) -> i32 {
        let half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
        _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
    }

    /// # Safety
    /// Eight numbers lie there; no alignment is needed.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: as promised.
        unsafe { _mm256_loadu_ps(from) }
    }

    /// # Safety
    /// As for `load`.
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_f16(from: *const u16) -> __m256 {
        // SAFETY: as promised.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from.cast()) })
    }

    /// Sums `step` over whole registers in four independent chains, then `rest` over the tail.
    macro_rules! kernel {
        ($name:ident, $number:ty, $load:ident, $widen:path, |$acc:ident, $x:ident, $y:ident| $step:expr, |$p:ident, $q:ident| $rest:expr) => {
            #[target_feature(enable = "avx2,fma,f16c")]
            pub(super) fn $name(a: &[f32], b: &[$number]) -> f32 {
                let len = a.len().min(b.len());
                let mut sums = [_mm256_setzero_ps(); 4];
                let whole = len - len % LANES;
                for (turn, at) in (0..whole).step_by(LANES).enumerate() {
                    // SAFETY: at + LANES <= whole <= both lengths.
                    let ($x, $y) = unsafe { (load(a.as_ptr().add(at)), $load(b.as_ptr().add(at))) };
                    let $acc = sums[turn % 4];
                    sums[turn % 4] = $step;
                }
                let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
                let rest = |($p, $q): (&f32, &$number)| {
                    let ($p, $q) = (*$p, $widen(*$q));
                    $rest
                };
                let tail: f32 = a[whole..len].iter().zip(&b[whole..len]).map(rest).sum();
                sum_f32(sum) + tail
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
            let difference = _mm256_sub_ps(x, y);
            _mm256_fmadd_ps(difference, difference, acc)
        },
        |p, q| (p - q) * (p - q)
    );
    kernels!(dot, dot_f16, |acc, x, y| _mm256_fmadd_ps(x, y, acc), |p, q| p * q);
    kernels!(
        l1,
        l1_f16,
        |acc, x, y| _mm256_add_ps(acc, _mm256_andnot_ps(_mm256_set1_ps(-0.0), _mm256_sub_ps(x, y))),
        |p, q| (p - q).abs()
    );

    macro_rules! cosine_kernel {
        ($name:ident, $number:ty, $load:ident, $widen:path) => {
            #[target_feature(enable = "avx2,fma,f16c")]
            pub(super) fn $name(a: &[f32], b: &[$number]) -> (f32, f32, f32) {
                let len = a.len().min(b.len());
                let whole = len - len % LANES;
                let [mut ab, mut aa, mut bb] = [_mm256_setzero_ps(); 3];
                for at in (0..whole).step_by(LANES) {
                    // SAFETY: at + LANES <= whole <= both lengths.
                    let (x, y) = unsafe { (load(a.as_ptr().add(at)), $load(b.as_ptr().add(at))) };
                    ab = _mm256_fmadd_ps(x, y, ab);
                    aa = _mm256_fmadd_ps(x, x, aa);
                    bb = _mm256_fmadd_ps(y, y, bb);
                }
                let mut sums = (sum_f32(ab), sum_f32(aa), sum_f32(bb));
                for (x, y) in a[whole..len].iter().zip(&b[whole..len]) {
                    let (x, y) = (*x, $widen(*y));
                    sums = (sums.0 + x * y, sums.1 + x * x, sums.2 + y * y);
                }
                sums
            }
        };
    }

    cosine_kernel!(dot_and_norms, f32, load, f32::from);
    cosine_kernel!(dot_and_norms_f16, u16, load_f16, widen);

    #[target_feature(enable = "popcnt")]
    pub(super) fn hamming(a: &[u8], b: &[u8]) -> u32 {
        // Compiled for a CPU that counts the ones of a word by one instruction.
        super::super::portable::hamming(a, b)
    }

    #[target_feature(enable = "popcnt")]
    pub(super) fn common_bits(a: &[u8], b: &[u8]) -> (u32, u32) {
        super::super::portable::common_bits(a, b)
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
        const STEP: usize = 16;
        let len = a.len().min(b.len());
        let whole = len - len % STEP;
        let mut sum = _mm256_setzero_si256();
        for at in (0..whole).step_by(STEP) {
            // SAFETY: at + STEP <= whole <= both lengths; the loads need no alignment.
            let (x, y) = unsafe {
                (_mm_loadu_si128(a.as_ptr().add(at).cast()), _mm_loadu_si128(b.as_ptr().add(at).cast()))
            };
            // Widened first: the one-instruction form adds pairs in 16 bits and would saturate.
            let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(x), _mm256_cvtepi8_epi16(y));
            sum = _mm256_add_epi32(sum, products);
        }
        sum_i32(sum) + super::super::portable::dot_u8_i8(&a[whole..len], &b[whole..len])
    }

    /// The sums of four registers.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn sums_i32(v: [__m256i; 4]) -> [i32; 4] {
        let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
        let sums = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        [
            _mm_extract_epi32::<0>(sums),
            _mm_extract_epi32::<1>(sums),
            _mm_extract_epi32::<2>(sums),
            _mm_extract_epi32::<3>(sums),
        ]
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dot4_u8_i8(codes: [&[u8]; 4], query: &[i8]) -> [i32; 4] {
        const STEP: usize = 16;
        let len = codes.iter().fold(query.len(), |len, codes| len.min(codes.len()));
        let whole = len - len % STEP;
        let mut sums = [_mm256_setzero_si256(); 4];
        for at in (0..whole).step_by(STEP) {
            // SAFETY: at + STEP <= whole <= all lengths; the loads need no alignment.
            let y = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(query.as_ptr().add(at).cast()) });
            for (codes, sum) in codes.iter().zip(&mut sums) {
                // SAFETY: as above.
                let x = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().add(at).cast()) });
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, y));
            }
        }
        let mut sums = sums_i32(sums);
        for (codes, sum) in codes.iter().zip(&mut sums) {
            *sum += super::super::portable::dot_u8_i8(&codes[whole..len], &query[whole..len]);
        }
        sums
    }

    /// Products of numbers below 16 and of an i8 are summed in 16 bits over one register of plane bytes: at most
    /// 8 / WIDTH pairs of products, which stay below 7,681.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn dot_packed<const WIDTH: i32>(plane: &[u8], query: &[i8]) -> i32 {
        const STEP: usize = 32;
        let stretches = 8 / WIDTH as usize;
        let len = plane.len().min(query.len() / stretches);
        let mask = _mm256_set1_epi8((1 << WIDTH) - 1);
        let mut sum = _mm256_setzero_si256();
        let mut at = 0;
        while at + STEP / 2 <= len {
            // The last 16 bytes, if there are so many: half a register.
            let half = at + STEP > len;
            let load = |from: *const u8| {
                // SAFETY: `from` has as many bytes behind it as are loaded: a plane's or a stretch's from `at` on.
                unsafe {
                    if half {
                        _mm256_zextsi128_si256(_mm_loadu_si128(from.cast()))
                    } else {
                        _mm256_loadu_si256(from.cast())
                    }
                }
            };
            let mut bytes = load(plane[at..].as_ptr());
            let mut pairs = _mm256_setzero_si256();
            for stretch in 0..stretches {
                let values = load(query[stretch * len + at..].as_ptr().cast());
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(_mm256_and_si256(bytes, mask), values));
                bytes = _mm256_srli_epi16::<WIDTH>(bytes);
            }
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            at += if half { STEP / 2 } else { STEP };
        }
        sum_i32(sum) + super::super::portable::dot_packed_from::<WIDTH>(&plane[..len], query, at)
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn l1_u8(a: &[u8], b: &[u8]) -> i32 {
        const STEP: usize = 32;
        let len = a.len().min(b.len());
        let whole = len - len % STEP;
        let mut sum = _mm256_setzero_si256();
        for at in (0..whole).step_by(STEP) {
            // SAFETY: at + STEP <= whole <= both lengths; the loads need no alignment.
            let (x, y) = unsafe {
                (_mm256_loadu_si256(a.as_ptr().add(at).cast()), _mm256_loadu_si256(b.as_ptr().add(at).cast()))
            };
            // Four sums of 64 bits; the odd 32-bit halves stay zero for any length a u16 can hold.
            sum = _mm256_add_epi64(sum, _mm256_sad_epu8(x, y));
        }
        sum_i32(sum) + super::super::portable::l1_u8(&a[whole..len], &b[whole..len])
    }
}

mod avx512 {
    use super::*;

    const LANES: usize = 16;

    /// Selects the first `count` of 16 lanes.
    fn first_lanes(count: usize) -> __mmask16 {
        ((1u32 << count.min(LANES)) - 1) as __mmask16
    }

    /// Loads 16 lanes at `at`, or what is left of them with zeros behind.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(v: &[f32], at: usize) -> __m512 {
        // SAFETY: a masked load touches only the lanes selected, which end at the slice's end.
        unsafe { _mm512_maskz_loadu_ps(first_lanes(v.len().saturating_sub(at)), v.as_ptr().wrapping_add(at)) }
    }

    /// As `load`, of f16.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load_f16(v: &[u16], at: usize) -> __m512 {
        let mut lanes = [0u16; LANES];
        let left = v.get(at..).unwrap_or_default();
        let left = &left[..left.len().min(LANES)];
        lanes[..left.len()].copy_from_slice(left);
        // SAFETY: there are LANES of them.
        unsafe { whole_f16(lanes.as_ptr()) }
    }

    /// # Safety
    /// Sixteen numbers lie there; no alignment is needed.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn whole(from: *const f32) -> __m512 {
        // SAFETY: as promised.
        unsafe { _mm512_loadu_ps(from) }
    }

    /// # Safety
    /// As for `whole`.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn whole_f16(from: *const u16) -> __m512 {
        // SAFETY: as promised.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.cast()) })
    }

    /// Sums `step` over 64 lanes a turn in four independent chains, then over 16, the last of them masked:
    /// zeros add nothing to any of these sums.
    macro_rules! kernel {
        ($name:ident, $number:ty, $whole:ident, $load:ident, |$acc:ident, $x:ident, $y:ident| $step:expr) => {
            #[target_feature(enable = "avx512f,avx512bw")]
            pub(super) fn $name(a: &[f32], b: &[$number]) -> f32 {
                let len = a.len().min(b.len());
                let (a, b) = (&a[..len], &b[..len]);
                let mut sums = [_mm512_setzero_ps(); 4];
                let mut at = 0;
                while at + 4 * LANES <= len {
                    for (chain, sum) in sums.iter_mut().enumerate() {
                        let at = at + chain * LANES;
                        // SAFETY: the last of four chains ends at len.
                        let ($x, $y) = unsafe { (whole(a.as_ptr().add(at)), $whole(b.as_ptr().add(at))) };
                        let $acc = *sum;
                        *sum = $step;
                    }
                    at += 4 * LANES;
                }
                while at < len {
                    let ($x, $y) = (load(a, at), $load(b, at));
                    let $acc = sums[0];
                    sums[0] = $step;
                    at += LANES;
                }
                let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
                _mm512_reduce_add_ps(sum)
            }
        };
    }

    /// The same for rows of f32 and of f16.
    macro_rules! kernels {
        ($name:ident, $f16:ident, |$acc:ident, $x:ident, $y:ident| $step:expr) => {
            kernel!($name, f32, whole, load, |$acc, $x, $y| $step);
            kernel!($f16, u16, whole_f16, load_f16, |$acc, $x, $y| $step);
        };
    }

    kernels!(l2_squared, l2_squared_f16, |acc, x, y| {
        let difference = _mm512_sub_ps(x, y);
        _mm512_fmadd_ps(difference, difference, acc)
    });
    kernels!(dot, dot_f16, |acc, x, y| _mm512_fmadd_ps(x, y, acc));
    kernels!(l1, l1_f16, |acc, x, y| _mm512_add_ps(acc, _mm512_abs_ps(_mm512_sub_ps(x, y))));

    macro_rules! cosine_kernel {
        ($name:ident, $number:ty, $whole:ident, $load:ident) => {
            #[target_feature(enable = "avx512f,avx512bw")]
            pub(super) fn $name(a: &[f32], b: &[$number]) -> (f32, f32, f32) {
                let len = a.len().min(b.len());
                let (a, b) = (&a[..len], &b[..len]);
                let [mut ab, mut aa, mut bb] = [_mm512_setzero_ps(); 3];
                for at in (0..len).step_by(LANES) {
                    let (x, y) = match at + LANES <= len {
                        // SAFETY: so many are left.
                        true => unsafe { (whole(a.as_ptr().add(at)), $whole(b.as_ptr().add(at))) },
                        false => (load(a, at), $load(b, at)),
                    };
                    ab = _mm512_fmadd_ps(x, y, ab);
                    aa = _mm512_fmadd_ps(x, x, aa);
                    bb = _mm512_fmadd_ps(y, y, bb);
                }
                (_mm512_reduce_add_ps(ab), _mm512_reduce_add_ps(aa), _mm512_reduce_add_ps(bb))
            }
        };
    }

    cosine_kernel!(dot_and_norms, f32, whole, load);
    cosine_kernel!(dot_and_norms_f16, u16, whole_f16, load_f16);

    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    pub(super) fn hamming(a: &[u8], b: &[u8]) -> u32 {
        let len = a.len().min(b.len());
        let (a, b) = (&a[..len], &b[..len]);
        let mut sum = _mm512_setzero_si512();
        for at in (0..len).step_by(64) {
            let differ = _mm512_xor_si512(load_bytes(a, at), load_bytes(b, at));
            sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(differ));
        }
        _mm512_reduce_add_epi64(sum) as u32
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
    pub(super) fn common_bits(a: &[u8], b: &[u8]) -> (u32, u32) {
        let len = a.len().min(b.len());
        let (a, b) = (&a[..len], &b[..len]);
        let [mut both, mut either] = [_mm512_setzero_si512(); 2];
        for at in (0..len).step_by(64) {
            let (x, y) = (load_bytes(a, at), load_bytes(b, at));
            both = _mm512_add_epi64(both, _mm512_popcnt_epi64(_mm512_and_si512(x, y)));
            either = _mm512_add_epi64(either, _mm512_popcnt_epi64(_mm512_or_si512(x, y)));
        }
        (_mm512_reduce_add_epi64(both) as u32, _mm512_reduce_add_epi64(either) as u32)
    }

    /// Loads 64 bytes at `at`, or what is left of them with zeros behind.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load_bytes<T>(v: &[T], at: usize) -> __m512i {
        const { assert!(size_of::<T>() == 1) };
        let left = v.len().saturating_sub(at);
        let mask: __mmask64 = if left >= 64 { !0 } else { (1u64 << left) - 1 };
        // SAFETY: a masked load touches only the bytes selected, which end at the slice's end.
        unsafe { _mm512_maskz_loadu_epi8(mask, v.as_ptr().wrapping_add(at).cast()) }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
        let len = a.len().min(b.len());
        let (a, b) = (&a[..len], &b[..len]);
        let mut sum = _mm512_setzero_si512();
        for at in (0..len).step_by(64) {
            let (x, y) = (load_bytes(a, at), load_bytes(b, at));
            let low = _mm512_madd_epi16(
                _mm512_cvtepu8_epi16(_mm512_castsi512_si256(x)),
                _mm512_cvtepi8_epi16(_mm512_castsi512_si256(y)),
            );
            let high = _mm512_madd_epi16(
                _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(x)),
                _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64::<1>(y)),
            );
            sum = _mm512_add_epi32(sum, _mm512_add_epi32(low, high));
        }
        _mm512_reduce_add_epi32(sum)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn dot_u8_i8_vnni(a: &[u8], b: &[i8]) -> i32 {
        let len = a.len().min(b.len());
        let (a, b) = (&a[..len], &b[..len]);
        let [mut even, mut odd] = [_mm512_setzero_si512(); 2];
        let mut at = 0;
        while at + 128 <= len {
            // SAFETY: at + 128 <= len; the loads need no alignment.
            unsafe {
                let (x, y) = (a.as_ptr().add(at), b.as_ptr().add(at));
                even = _mm512_dpbusd_epi32(even, _mm512_loadu_si512(x.cast()), _mm512_loadu_si512(y.cast()));
                odd = _mm512_dpbusd_epi32(
                    odd,
                    _mm512_loadu_si512(x.add(64).cast()),
                    _mm512_loadu_si512(y.add(64).cast()),
                );
            }
            at += 128;
        }
        while at < len {
            even = _mm512_dpbusd_epi32(even, load_bytes(a, at), load_bytes(b, at));
            at += 64;
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd))
    }

    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512vnni")]
    pub(super) fn dot4_u8_i8_vnni(codes: [&[u8]; 4], query: &[i8]) -> [i32; 4] {
        let len = codes.iter().fold(query.len(), |len, codes| len.min(codes.len()));
        let mut sums = [_mm512_setzero_si512(); 4];
        let mut at = 0;
        while at + 64 <= len {
            // SAFETY: at + 64 <= len, which none is shorter than; the loads need no alignment.
            let y = unsafe { _mm512_loadu_si512(query.as_ptr().add(at).cast()) };
            for (codes, sum) in codes.iter().zip(&mut sums) {
                // SAFETY: as above.
                let x = unsafe { _mm512_loadu_si512(codes.as_ptr().add(at).cast()) };
                *sum = _mm512_dpbusd_epi32(*sum, x, y);
            }
            at += 64;
        }
        if at < len {
            let y = load_bytes(&query[..len], at);
            for (codes, sum) in codes.iter().zip(&mut sums) {
                *sum = _mm512_dpbusd_epi32(*sum, load_bytes(&codes[..len], at), y);
            }
        }
        let [a, b, c, d] = sums;
        avx2::sums_i32([halved(a), halved(b), halved(c), halved(d)])
    }

    /// The sums of lanes that are half a register apart.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn halved(v: __m512i) -> __m256i {
        _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64::<1>(v))
    }

    /// As for AVX2.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn dot_packed<const WIDTH: i32>(plane: &[u8], query: &[i8]) -> i32 {
        let stretches = 8 / WIDTH as usize;
        let len = plane.len().min(query.len() / stretches);
        let mask = _mm512_set1_epi8((1 << WIDTH) - 1);
        let mut sum = _mm512_setzero_si512();
        for at in (0..len).step_by(64) {
            let mut bytes = load_bytes(&plane[..len], at);
            let mut pairs = _mm512_setzero_si512();
            for stretch in query.chunks_exact(len).take(stretches) {
                let values = load_bytes(stretch, at);
                pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(_mm512_and_si512(bytes, mask), values));
                bytes = _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(WIDTH));
            }
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
        }
        _mm512_reduce_add_epi32(sum)
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn l1_u8(a: &[u8], b: &[u8]) -> i32 {
        let len = a.len().min(b.len());
        let (a, b) = (&a[..len], &b[..len]);
        let mut sum = _mm512_setzero_si512();
        for at in (0..len).step_by(64) {
            sum = _mm512_add_epi64(sum, _mm512_sad_epu8(load_bytes(a, at), load_bytes(b, at)));
        }
        _mm512_reduce_add_epi64(sum) as i32
    }
}
