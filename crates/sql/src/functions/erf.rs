//! The error function and its complement, by the rational approximations of the C library (FreeBSD's s_erf.c).

const ERX: f64 = 8.450_629_115_104_675e-1;
const EFX8: f64 = 1.027_033_336_764_100_7;
const PP: [f64; 5] = [
    1.283_791_670_955_125_6e-1,
    -3.250_421_072_470_015e-1,
    -2.848_174_957_559_851e-2,
    -5.770_270_296_489_442e-3,
    -2.376_301_665_665_016_3e-5,
];
const QQ: [f64; 6] = [
    1.0,
    3.979_172_239_591_553_5e-1,
    6.502_224_998_876_73e-2,
    5.081_306_281_875_766e-3,
    1.324_947_380_043_216_4e-4,
    -3.960_228_278_775_368e-6,
];
const PA: [f64; 7] = [
    -2.362_118_560_752_659_4e-3,
    4.148_561_186_837_483_3e-1,
    -3.722_078_760_357_013e-1,
    3.183_466_199_011_617_5e-1,
    -1.108_946_942_823_966_8e-1,
    3.547_830_432_561_823_6e-2,
    -2.166_375_594_868_791e-3,
];
const QA: [f64; 7] = [
    1.0,
    1.064_208_804_008_442_3e-1,
    5.403_979_177_021_71e-1,
    7.182_865_441_419_627e-2,
    1.261_712_198_087_616_4e-1,
    1.363_708_391_202_905e-2,
    1.198_449_984_679_911e-2,
];
const RA: [f64; 8] = [
    -9.864_944_034_847_148e-3,
    -6.938_585_727_071_818e-1,
    -1.055_862_622_532_329_1e1,
    -6.237_533_245_032_601e1,
    -1.623_966_694_625_734_7e2,
    -1.846_050_929_067_110_4e2,
    -8.128_743_550_630_66e1,
    -9.814_329_344_169_145,
];
const SA: [f64; 9] = [
    1.0,
    1.965_127_166_743_925_7e1,
    1.376_577_541_435_190_4e2,
    4.345_658_774_752_292_3e2,
    6.453_872_717_332_679e2,
    4.290_081_400_275_678_3e2,
    1.086_350_055_417_794_4e2,
    6.570_249_770_319_282,
    -6.042_441_521_485_81e-2,
];
const RB: [f64; 7] = [
    -9.864_942_924_700_1e-3,
    -7.992_832_376_805_23e-1,
    -1.775_795_491_775_475_2e1,
    -1.606_363_848_558_219_2e2,
    -6.375_664_433_683_896e2,
    -1.025_095_131_611_077_2e3,
    -4.835_191_916_086_514e2,
];
const SB: [f64; 8] = [
    1.0,
    3.033_806_074_348_246e1,
    3.257_925_129_965_739e2,
    1.536_729_586_084_437e3,
    3.199_858_219_508_595_5e3,
    2.553_050_406_433_164_4e3,
    4.745_285_412_069_553_7e2,
    -2.244_095_244_658_582e1,
];

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Between 0.84375 and 1.25: what is beyond 0.845.
fn around_one(x: f64) -> f64 {
    let s = x - 1.0;
    polynomial(&PA, s) / polynomial(&QA, s)
}

/// The complement past 1.25.
fn tail(x: f64) -> f64 {
    let s = 1.0 / (x * x);
    let quotient = match x < 1.0 / 0.35 {
        true => polynomial(&RA, s) / polynomial(&SA, s),
        false => polynomial(&RB, s) / polynomial(&SB, s),
    };
    let z = f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000);
    (-z * z - 0.5625).exp() * ((z - x) * (z + x) + quotient).exp() / x
}

pub(super) fn erf(x: f64) -> f64 {
    let size = x.abs();
    let value = match size {
        _ if x.is_nan() => return x,
        // Tiny: without an underflow on the way.
        size if size < 2.0_f64.powi(-28) => 0.125 * (8.0 * size + EFX8 * size),
        size if size < 0.84375 => {
            let z = size * size;
            size + size * (polynomial(&PP, z) / polynomial(&QQ, z))
        }
        size if size < 1.25 => ERX + around_one(size),
        size if size >= 6.0 => 1.0,
        size => 1.0 - tail(size),
    };
    value.copysign(x)
}

pub(super) fn erfc(x: f64) -> f64 {
    let size = x.abs();
    match size {
        _ if x.is_nan() => x,
        size if size < 2.0_f64.powi(-56) => 1.0 - x,
        size if size < 0.84375 => {
            let z = x * x;
            let y = polynomial(&PP, z) / polynomial(&QQ, z);
            if x < 0.25 { 1.0 - (x + x * y) } else { 0.5 - (x - 0.5 + x * y) }
        }
        size if size < 1.25 && x < 0.0 => 1.0 + (ERX + around_one(size)),
        size if size < 1.25 => 1.0 - ERX - around_one(size),
        size if size < 28.0 && x < 0.0 => {
            if x < -6.0 {
                2.0
            } else {
                2.0 - tail(size)
            }
        }
        size if size < 28.0 => tail(size),
        _ if x < 0.0 => 2.0,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the C library prints.
    #[test]
    fn values_are_the_c_librarys() {
        assert_eq!(erf(0.5), 0.520_499_877_813_046_5);
        assert_eq!(erf(1.0), 0.842_700_792_949_714_9);
        assert_eq!(erf(-2.0), -0.995_322_265_018_952_7);
        assert_eq!(erfc(1.0), 0.157_299_207_050_285_13);
        assert_eq!(erfc(5.0), 1.537_459_794_428_035_1e-12);
        assert_eq!(erfc(-0.0), 1.0);
    }
}
