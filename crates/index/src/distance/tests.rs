//! Every kernel against the portable one, and distances that are known.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

fn lengths() -> impl Iterator<Item = usize> {
    (0..=130).chain([384, 768, 1536, 16_000])
}

/// Sums in another order differ by some units in the last place of the largest partial sum.
fn close(got: f32, want: f32, magnitude: f32) -> bool {
    got == want || (got - want).abs() <= magnitude * 1e-5 || (got.is_nan() && want.is_nan())
}

/// Runs `check` with vectors of every length, at an odd address.
fn with_vectors(mut check: impl FnMut(&Kernels, &[f32], &[f32])) {
    let mut rng = StdRng::seed_from_u64(7);
    for kernels in available() {
        for len in lengths() {
            let a: Vec<f32> = (0..=len).map(|_| rng.random_range(-2.0..2.0)).collect();
            let b: Vec<f32> = (0..=len).map(|_| rng.random_range(-2.0..2.0)).collect();
            check(kernels, &a[1..], &b[..len]);
        }
    }
}

#[test]
fn f32_kernels_agree_with_the_portable_ones() {
    with_vectors(|kernels, a, b| {
        let magnitude = 16.0 * a.len() as f32;
        let named = |what| format!("{} {what} of {}", kernels.name, a.len());
        // SAFETY: `available` lists only what this CPU has; the lengths are equal.
        unsafe {
            let l2 = ((kernels.l2_squared)(a, b), portable::l2_squared(a, b));
            assert!(close(l2.0, l2.1, magnitude), "{}: {l2:?}", named("l2"));
            let dot = ((kernels.dot)(a, b), portable::dot(a, b));
            assert!(close(dot.0, dot.1, magnitude), "{}: {dot:?}", named("dot"));
            let l1 = ((kernels.l1)(a, b), portable::l1(a, b));
            assert!(close(l1.0, l1.1, magnitude), "{}: {l1:?}", named("l1"));
            let (got, want) = ((kernels.dot_and_norms)(a, b), portable::dot_and_norms(a, b));
            assert!(close(got.0, want.0, magnitude), "{}", named("dot of cosine"));
            assert!(close(got.1, want.1, magnitude), "{}", named("norm"));
            assert!(close(got.2, want.2, magnitude), "{}", named("norm"));
        }
    });
}

#[test]
fn kernels_of_f16_are_those_of_the_same_numbers_as_f32() {
    let mut rng = StdRng::seed_from_u64(10);
    for kernels in available() {
        for (len, shift) in lengths().flat_map(|len| [(len, 0), (len, 1)]) {
            let a: Vec<f32> = (0..len + shift).map(|_| rng.random_range(-2.0..2.0)).collect();
            let halves: Vec<half::f16> =
                (0..len + shift).map(|_| half::f16::from_f32(rng.random_range(-2.0..2.0))).collect();
            let bits: Vec<u16> = halves.iter().map(|half| half.to_bits()).collect();
            let wide: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
            let (a, bits, wide) = (&a[..len], &bits[shift..], &wide[shift..]);
            let named = |what| format!("{} {what} of {len}", kernels.name);
            let magnitude = 16.0 * len as f32;
            // SAFETY: `available` lists only what this CPU has; the lengths are equal.
            unsafe {
                assert!(
                    close((kernels.l2_squared_f16)(a, bits), portable::l2_squared(a, wide), magnitude),
                    "{}",
                    named("l2")
                );
                assert!(
                    close((kernels.dot_f16)(a, bits), portable::dot(a, wide), magnitude),
                    "{}",
                    named("dot")
                );
                assert!(
                    close((kernels.l1_f16)(a, bits), portable::l1(a, wide), magnitude),
                    "{}",
                    named("l1")
                );
                let (got, want) = ((kernels.dot_and_norms_f16)(a, bits), portable::dot_and_norms(a, wide));
                assert!(close(got.0, want.0, magnitude), "{}", named("dot of cosine"));
                assert!(
                    close(got.1, want.1, magnitude) && close(got.2, want.2, magnitude),
                    "{}",
                    named("norms")
                );
            }
        }
    }
}

#[test]
fn subnormals_of_f16_are_what_they_are() {
    for kernels in available() {
        for len in [1, 7, 8, 16, 17, 33, 64, 65, 384] {
            // The largest that is not a normal number.
            let (tiny, zero) = (vec![0x03ff_u16; len], vec![0.0f32; len]);
            let value = half::f16::from_bits(0x03ff).to_f32();
            let wanted = value * len as f32;
            let is_near = |found: f32, wanted: f32| (found - wanted).abs() <= wanted * 1e-5;
            // SAFETY: `available` lists only what this CPU has; the lengths are equal.
            unsafe {
                assert!(is_near((kernels.l1_f16)(&zero, &tiny), wanted), "{} {len}", kernels.name);
                assert!(is_near((kernels.dot_f16)(&vec![1.0; len], &tiny), wanted), "{} {len}", kernels.name);
                let square = value * value * len as f32;
                assert!(is_near((kernels.l2_squared_f16)(&zero, &tiny), square), "{} {len}", kernels.name);
                assert!(
                    is_near((kernels.dot_and_norms_f16)(&zero, &tiny).2, square),
                    "{} {len}",
                    kernels.name
                );
            }
        }
    }
}

#[test]
fn kernels_of_bits_are_exact() {
    let mut rng = StdRng::seed_from_u64(11);
    for kernels in available() {
        for (len, shift) in (0..=130).chain([192, 8_000]).flat_map(|len| [(len, 0), (len, 1), (len, 13)]) {
            let a: Vec<u8> = (0..len + shift).map(|_| rng.random()).collect();
            let b: Vec<u8> =
                (0..len + shift).map(|at| if len % 3 == 0 { !a[at] } else { rng.random() }).collect();
            let (a, b) = (&a[shift..], &b[shift..]);
            let count =
                |of: fn(u8, u8) -> u8| a.iter().zip(b).map(|(a, b)| of(*a, *b).count_ones()).sum::<u32>();
            // SAFETY: `available` lists only what this CPU has; the lengths are equal.
            unsafe {
                assert_eq!((kernels.hamming)(a, b), count(|a, b| a ^ b), "{} {len}", kernels.name);
                let wanted = (count(|a, b| a & b), count(|a, b| a | b));
                assert_eq!((kernels.common_bits)(a, b), wanted, "{} {len}", kernels.name);
            }
        }
    }
}

#[test]
fn portable_kernels_agree_with_f64() {
    with_vectors(|_, a, b| {
        let pairs = || a.iter().zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
        let magnitude = 16.0 * a.len() as f32;
        let l2: f64 = pairs().map(|(x, y)| (x - y) * (x - y)).sum();
        assert!(close(portable::l2_squared(a, b), l2 as f32, magnitude));
        let dot: f64 = pairs().map(|(x, y)| x * y).sum();
        assert!(close(portable::dot(a, b), dot as f32, magnitude));
        let l1: f64 = pairs().map(|(x, y)| (x - y).abs()).sum();
        assert!(close(portable::l1(a, b), l1 as f32, magnitude));
    });
}

#[test]
fn integer_kernels_are_exact() {
    let mut rng = StdRng::seed_from_u64(8);
    for kernels in available() {
        for len in lengths() {
            let mut codes: Vec<u8> = (0..=len).map(|_| rng.random()).collect();
            let mut other: Vec<u8> = (0..=len).map(|_| rng.random()).collect();
            let mut query: Vec<i8> = (0..=len).map(|_| rng.random()).collect();
            if len % 3 == 0 {
                // The corners, where 16-bit intermediates would saturate.
                codes.fill(255);
                query.fill(-128);
                other.fill(0);
            }
            let (codes, other, query) = (&codes[1..], &other[1..], &query[1..]);
            // SAFETY: `available` lists only what this CPU has; the lengths are equal.
            unsafe {
                let name = kernels.name;
                assert_eq!(
                    (kernels.dot_u8_i8)(codes, query),
                    portable::dot_u8_i8(codes, query),
                    "{name} {len}"
                );
                let four = [codes, other, other, codes];
                let products = four.map(|codes| portable::dot_u8_i8(codes, query));
                assert_eq!((kernels.dot4_u8_i8)(four, query), products, "{name} {len}");
                assert_eq!((kernels.l1_u8)(codes, other), portable::l1_u8(codes, other), "{name} {len}");
            }
        }
    }
}

#[test]
fn packed_kernels_are_exact() {
    let plain = |plane: &[u8], query: &[i8], width: usize| -> i32 {
        let value = |d: usize| plane[d % plane.len()] >> (d / plane.len() * width) & ((1 << width) - 1);
        let values = 0..plane.len() * 8 / width;
        values.map(|d| i32::from(value(d)) * i32::from(query[d])).sum()
    };
    let mut rng = StdRng::seed_from_u64(9);
    for kernels in available() {
        for (width, kernel) in [(1, kernels.dot_u1_i8), (2, kernels.dot_u2_i8), (4, kernels.dot_u4_i8)] {
            for (len, shift) in lengths().flat_map(|len| [(len, 0), (len, 1), (len, 13)]) {
                let mut plane: Vec<u8> = (0..shift + len).map(|_| rng.random()).collect();
                let mut query: Vec<i8> = (0..shift + len * 8 / width).map(|_| rng.random()).collect();
                if len % 3 == 0 {
                    plane.fill(255);
                    query.fill(if len % 2 == 0 { -128 } else { 127 });
                }
                let (plane, query) = (&plane[shift..], &query[shift..]);
                // SAFETY: `available` lists only what this CPU has; the query is as long as the plane has values.
                let found = unsafe { kernel(plane, query) };
                assert_eq!(found, plain(plane, query, width), "{} {width} bits, {len} bytes", kernels.name);
            }
        }
    }
    assert_eq!(dot_u1_i8(&[255; 9], &[1; 25]), 24, "what has no query is left out");
}

#[test]
fn nan_infinity_and_subnormals_pass_through() {
    for kernels in available() {
        for len in [1, 7, 8, 15, 16, 17, 33, 64, 65, 384] {
            for at in [0, len / 2, len - 1] {
                let mut a = vec![1.0f32; len];
                let b = vec![0.5f32; len];
                // SAFETY: `available` lists only what this CPU has; the lengths are equal.
                unsafe {
                    a[at] = f32::NAN;
                    assert!((kernels.l2_squared)(&a, &b).is_nan());
                    assert!((kernels.dot)(&a, &b).is_nan());
                    assert!((kernels.l1)(&a, &b).is_nan());
                    assert!((kernels.dot_and_norms)(&a, &b).0.is_nan());
                    let mut halves = vec![half::f16::ONE.to_bits(); len];
                    halves[at] = half::f16::NAN.to_bits();
                    for kernel in [kernels.l2_squared_f16, kernels.dot_f16, kernels.l1_f16] {
                        assert!(kernel(&b, &halves).is_nan());
                    }
                    halves[at] = half::f16::INFINITY.to_bits();
                    assert_eq!((kernels.l2_squared_f16)(&b, &halves), f32::INFINITY);
                    a[at] = f32::INFINITY;
                    assert_eq!((kernels.l2_squared)(&a, &b), f32::INFINITY);
                    assert_eq!((kernels.l1)(&a, &b), f32::INFINITY);
                    let tiny = vec![f32::from_bits(1); len];
                    let zero = vec![0.0f32; len];
                    assert_eq!((kernels.l1)(&tiny, &zero), f32::from_bits(len as u32), "{}", kernels.name);
                }
            }
        }
    }
}

#[test]
fn derived_numbers() {
    assert_eq!(norm(&[3.0, 4.0]), 5.0);
    assert_eq!(cosine(&[1.0, 0.0], &[2.0, 0.0]), 1.0);
    assert!(cosine(&[0.0, 0.0], &[2.0, 0.0]).is_nan());
    assert_eq!(dot4_u8_i8([&[1; 9], &[2; 9], &[3; 7], &[4; 9]], &[1; 8]), [7, 14, 21, 28]);
    assert!(available().iter().any(|k| k.name == kernel_name()));
}
