//! What a graph's walk compares instead of whole vectors: how it is declared, and which declarations make sense. Knows no
//! codes.

use super::format::M_MAX;
use super::{CodeKind, HnswParams};
use crate::rabitq::BITS_MAX;
use crate::{Element, Metric};
use quiver_base::{Error, Result, SqlState};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// With fewer dimensions a vector is no longer than the cache line that its code would take.
const CODED_DIMS_MIN: u16 = 17;

/// Codes of a graph's vectors: `WITH (quantization = …)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Quantization {
    /// One byte a dimension where that pays: from 17 dimensions on, and not for bits.
    #[default]
    Auto,
    /// No codes.
    None,
    /// One byte a dimension, each with its own range.
    Sq8,
    /// RaBitQ with 1 to 8 bits a dimension.
    Rabitq(u8),
}

impl Quantization {
    /// What is stored for it; whether it can be is for [`HnswParams::check`] to say.
    pub(super) fn codes(self, metric: Metric, dim: u16, element: Element) -> CodeKind {
        match self {
            Quantization::None => CodeKind::Full,
            Quantization::Auto
                if dim < CODED_DIMS_MIN || metric == Metric::Jaccard || element == Element::Bit =>
            {
                CodeKind::Full
            }
            Quantization::Auto | Quantization::Sq8 => CodeKind::Scalar8,
            Quantization::Rabitq(bits) => CodeKind::Rabitq(bits),
        }
    }

    /// The number a file holds for it.
    pub(super) fn to_code(self) -> u8 {
        match self {
            Quantization::Auto => 0,
            Quantization::None => 1,
            Quantization::Sq8 => 2,
            Quantization::Rabitq(bits) => 16 + bits,
        }
    }

    /// What a file's number stands for.
    pub(super) fn from_code(code: u8) -> Option<Quantization> {
        Some(match code {
            0 => Quantization::Auto,
            1 => Quantization::None,
            2 => Quantization::Sq8,
            17..=24 => Quantization::Rabitq(code - 16),
            _ => return None,
        })
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantization::Auto => f.write_str("auto"),
            Quantization::None => f.write_str("none"),
            Quantization::Sq8 => f.write_str("sq8"),
            Quantization::Rabitq(bits) => write!(f, "rabitq{bits}"),
        }
    }
}

impl FromStr for Quantization {
    type Err = Error;

    /// Reads what `Display` writes, in letters of any case. Fails with 22023.
    fn from_str(text: &str) -> Result<Quantization> {
        let lower = text.to_ascii_lowercase();
        let found = match lower.as_str() {
            "auto" => Some(Quantization::Auto),
            "none" => Some(Quantization::None),
            "sq8" => Some(Quantization::Sq8),
            other => match other.strip_prefix("rabitq").map(str::as_bytes) {
                Some([digit @ b'1'..=b'8']) => Some(Quantization::Rabitq(digit - b'0')),
                _ => None,
            },
        };
        found.ok_or_else(|| {
            Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for option \"quantization\": \"{text}\""),
            )
            .with_detail("Valid values are \"auto\", \"none\", \"sq8\" and \"rabitq1\" to \"rabitq8\".")
        })
    }
}

impl HnswParams {
    /// Whether a graph can be built with these: 22023 for an `m` out of bounds and for bits that there are not, 0A000 for
    /// codes that do not tell this metric.
    pub fn check(&self, metric: Metric) -> Result<()> {
        let invalid = |what: String| Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, what));
        if !(2..=M_MAX).contains(&self.m) {
            return invalid(format!("value {} out of bounds for option \"m\"", self.m));
        }
        match self.quantization {
            Quantization::Rabitq(bits) if !(1..=BITS_MAX).contains(&bits) => {
                invalid(format!("invalid value for option \"quantization\": \"{}\"", self.quantization))
            }
            Quantization::Rabitq(_) if matches!(metric, Metric::L1 | Metric::Jaccard) => {
                Err(unsuited(self, metric))
            }
            // What two vectors have in common does not follow from an inner product alone.
            Quantization::Sq8 if metric == Metric::Jaccard => Err(unsuited(self, metric)),
            _ => Ok(()),
        }
    }
}

fn unsuited(params: &HnswParams, metric: Metric) -> Error {
    Error::unsupported(format!(
        "quantization \"{}\" is not possible with {metric} distance",
        params.quantization
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_come_back() {
        let all = [Quantization::Auto, Quantization::None, Quantization::Sq8];
        for one in all.into_iter().chain((1..=8).map(Quantization::Rabitq)) {
            assert_eq!(one.to_string().parse::<Quantization>().ok(), Some(one));
            assert_eq!(one.to_string().to_uppercase().parse::<Quantization>().ok(), Some(one));
            assert_eq!(Quantization::from_code(one.to_code()), Some(one));
        }
        for bad in ["", "rabitq", "rabitq0", "rabitq9", "rabitq10", "sq4", "auto "] {
            let error = bad.parse::<Quantization>().err();
            assert_eq!(error.map(|error| error.state().code()), Some("22023"), "{bad}");
        }
        assert_eq!(Quantization::from_code(16), None);
    }

    #[test]
    fn parameters_stored_before_there_was_a_choice_are_read() {
        #[derive(Serialize)]
        struct Before {
            m: u16,
            ef_construction: u16,
        }
        let before = rmp_serde::to_vec_named(&Before { m: 8, ef_construction: 32 }).unwrap_or_default();
        let wanted = HnswParams { m: 8, ef_construction: 32, quantization: Quantization::Auto };
        assert_eq!(rmp_serde::from_slice::<HnswParams>(&before).ok(), Some(wanted));
        let coded = HnswParams { quantization: Quantization::Rabitq(4), ..wanted };
        let bytes = rmp_serde::to_vec_named(&coded).unwrap_or_default();
        assert_eq!(rmp_serde::from_slice::<HnswParams>(&bytes).ok(), Some(coded));
    }

    #[test]
    fn codes_that_do_not_tell_a_metric_are_refused() {
        let check = |quantization, metric| {
            let params = HnswParams { quantization, ..HnswParams::default() };
            params.check(metric).err().map(|error| error.state().code())
        };
        for metric in [Metric::L1, Metric::Jaccard] {
            assert_eq!(check(Quantization::Rabitq(4), metric), Some("0A000"));
            assert_eq!(check(Quantization::Auto, metric), None);
        }
        assert_eq!(check(Quantization::Sq8, Metric::Jaccard), Some("0A000"));
        assert_eq!(check(Quantization::Sq8, Metric::L1), None);
        assert_eq!(check(Quantization::Rabitq(9), Metric::L2), Some("22023"));
        assert_eq!(check(Quantization::Rabitq(1), Metric::Cosine), None);
    }
}
