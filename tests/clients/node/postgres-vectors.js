// postgres.js with pgvector-node: all four types as parameters and results, nulls, arrays, every operator, types of its own.
import assert from 'node:assert/strict';
import postgres from 'postgres';
import pgvector, {SparseVector} from 'pgvector';
import {bits, byDistance, distances, query, vectors} from './samples.js';

const sql = postgres({max: 2, onnotice: () => {}});

await sql`CREATE TABLE items (id int PRIMARY KEY, vector vector(3), halfvec halfvec(3), sparsevec sparsevec(3), bit bit(5))`;
const rows = vectors.map((vector, index) => ({
  id: index + 1,
  vector: pgvector.toSql(vector),
  halfvec: pgvector.toSql(vector),
  sparsevec: pgvector.toSql(new SparseVector(vector)),
  bit: bits[index],
}));
await sql`INSERT INTO items ${sql(rows)}`;
await sql`INSERT INTO items ${sql({id: 4, vector: null, halfvec: null, sparsevec: null, bit: null})}`;
const found = await sql`SELECT * FROM items ORDER BY id`;
for (const [index, vector] of vectors.entries()) {
  const row = found[index];
  assert.deepEqual(pgvector.fromSql(row.vector), vector);
  assert.deepEqual(pgvector.fromSql(row.halfvec), vector);
  assert.deepEqual(pgvector.fromSql(row.sparsevec).toArray(), vector);
  assert.equal(row.bit, bits[index]);
}
assert.deepEqual(Object.values(found[3]), [4, null, null, null, null]);

for (const kind of ['vector', 'halfvec', 'sparsevec']) {
  const target = pgvector.toSql(kind === 'sparsevec' ? new SparseVector(query) : query);
  for (const [operator, wanted] of Object.entries(distances)) {
    const column = sql(kind);
    const by = sql.unsafe(operator);
    const near = await sql`SELECT id, ${column} ${by} ${target} AS d FROM items WHERE id < ${4} ORDER BY ${column} ${by} ${target}`;
    assert.deepEqual(near.map((row) => row.id), byDistance(wanted), `${kind} ${operator}`);
    for (const row of near) assert.ok(Math.abs(row.d - wanted[row.id - 1]) < 1e-6, `${kind} ${operator} ${row.d}`);
  }
}
const hamming = await sql`SELECT bit <~> ${'10101'} AS d FROM items WHERE bit IS NOT NULL ORDER BY bit <~> ${'10101'}, id`;
assert.deepEqual(hamming.map((row) => row.d), [2, 2, 3]);
const jaccard = await sql`SELECT bit <%> ${'10101'} AS d FROM items WHERE bit IS NOT NULL ORDER BY 1`;
assert.deepEqual(jaccard.map((row) => row.d), [0.5, 0.5, 1]);

// Array types are looked up in the catalog, so arrays of elements that it does not know work as arrays of text.
await sql`CREATE TABLE lists (vectors vector(2)[], halfvecs halfvec[], sparsevecs sparsevec[], bits varbit[])`;
const lists = {vectors: ['[1,2]', '[3,4]'], halfvecs: ['[5]'], sparsevecs: ['{1:1}/2', '{}/3'], bits: ['101', '']};
await sql`INSERT INTO lists ${sql(lists)}`;
assert.deepEqual({...(await sql`SELECT * FROM lists`)[0]}, lists);
const counted = await sql`SELECT count(*)::int AS n FROM unnest(${lists.vectors}::vector[]) v WHERE v::vector <-> '[1,2]' < 1`;
assert.equal(counted[0].n, 1);

const [described, kinds] = [await sql`SELECT vector, bit FROM items WHERE halfvec = ${'[1,2,3]'}`.describe(), await sql`
  SELECT typname, oid::int FROM pg_type WHERE typname IN ('vector', 'halfvec', 'bit')`];
const oid = Object.fromEntries(kinds.map((row) => [row.typname, row.oid]));
assert.deepEqual(described.types, [oid.halfvec]);
assert.deepEqual(described.columns.map((column) => column.type), [oid.vector, oid.bit]);

// A type of the application's own: arrays of numbers in and out.
const typed = postgres({
  max: 1,
  types: {vector: {to: oid.vector, from: [oid.vector], serialize: pgvector.toSql, parse: pgvector.fromSql}},
});
const [{v}] = await typed`SELECT ${typed.types.vector([1, 2.5])} AS v`;
assert.deepEqual(v, [1, 2.5]);
const nearest = await typed`SELECT id, vector FROM items ORDER BY vector <-> ${typed.types.vector(query)} LIMIT 1`;
assert.deepEqual({...nearest[0]}, {id: 1, vector: [1, 0, 0]});
await typed.end();
await sql.end();
