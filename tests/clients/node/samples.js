// What the suites over pgvector's types store and ask, with PostgreSQL's distances from `query`.
export const vectors = [[1, 0, 0], [0, 2, 0.5], [-1, 0.25, 1]];
export const bits = ['11100', '10011', '00000'];
export const query = [1, 1, 0];
export const distances = {
  '<->': [1, 1.5, 2.358495283014151],
  '<#>': [-1, -2, 0.75],
  '<=>': [0.2928932188134524, 0.31400565254962866, 1.3692744729379982],
  '<+>': [1, 2.5, 3.75],
};
/** The ids, from 1, in the order of their distances. */
export const byDistance = (values) => [...values.keys()].sort((a, b) => values[a] - values[b]).map((index) => index + 1);
