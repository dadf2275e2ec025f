//! The direction of a grid that is nearest to a vector's. Knows neither rotations nor how the answer is packed.

/// The step of a uniform grid of 2, 4, … 256 numbers that suits normally distributed values of variance one best (Max,
/// "Quantizing for minimum distortion", 1960): what the coordinates of a rotated vector are like.
const STEPS: [f32; 8] = [1.596, 0.9957, 0.586, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];
/// Steps that are tried, as shares of that. One vector's coordinates are a sample, and its best step is its own.
const TRIED: [f32; 9] = [0.65, 0.75, 0.83, 0.91, 1.0, 1.09, 1.2, 1.35, 1.6];

/// Finds levels of 0 to `2^bits - 1`, which stand for their distance from the middle, so that the angle between them and
/// `values` is about as small as can be. There are as many values as levels, a multiple of eight.
pub(super) fn choose(values: &[f32], bits: u8, levels: &mut [u8]) {
    let square: f32 = values.iter().map(|value| value * value).sum();
    let sigma = (square / values.len().max(1) as f32).sqrt();
    let step = sigma * STEPS[usize::from(bits - 1)];
    let grid = |share: f32| Grid::new(if step > 0.0 { 1.0 / (step * share) } else { 0.0 }, bits);
    // Of one bit there is only the sign, whatever the step.
    let shares = if bits == 1 { &TRIED[4..5] } else { &TRIED[..] };
    let nearest = shares.iter().max_by(|a, b| {
        let fits = [grid(**a).fit(values), grid(**b).fit(values)];
        fits[0].total_cmp(&fits[1])
    });
    let best = grid(nearest.copied().unwrap_or(1.0));
    levels.iter_mut().zip(values).for_each(|(level, value)| *level = best.level(*value) as u8);
}

struct Grid {
    inverse: f32,
    half: f32,
    top: f32,
}

impl Grid {
    fn new(inverse: f32, bits: u8) -> Grid {
        let numbers = (1u32 << bits) as f32;
        Grid { inverse, half: numbers / 2.0, top: numbers - 1.0 }
    }

    /// A whole number as a float.
    #[inline(always)]
    fn level(&self, value: f32) -> f32 {
        // Not negative after the clamp, so cutting off is rounding down.
        (value * self.inverse + self.half).clamp(0.0, self.top) as u8 as f32
    }

    /// The square of the cosine between the values and their levels, times what no step changes.
    fn fit(&self, values: &[f32]) -> f32 {
        let middle = self.top / 2.0;
        let (mut dots, mut squares) = ([0.0f32; 8], [0.0f32; 8]);
        for eight in values.as_chunks::<8>().0 {
            for lane in 0..8 {
                let x = self.level(eight[lane]) - middle;
                dots[lane] += x * eight[lane];
                squares[lane] += x * x;
            }
        }
        let (dot, square) = (dots.iter().sum::<f32>(), squares.iter().sum::<f32>());
        dot * dot / square
    }
}
