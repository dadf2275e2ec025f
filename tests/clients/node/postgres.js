// postgres.js: it describes every statement before it binds, pipelines, streams, and looks array types up in the catalog.
import assert from 'node:assert/strict';
import {pipeline} from 'node:stream/promises';
import {Readable} from 'node:stream';
import postgres from 'postgres';
import pgvector from 'pgvector';

const sql = postgres({max: 4, onnotice: () => {}});

await sql`CREATE TABLE t (id serial PRIMARY KEY, flag boolean, small smallint, int integer, big bigint, double float8,
  amount numeric(12,4), body text, data bytea, stamp timestamptz, key uuid, document jsonb, numbers integer[], words text[],
  embedding vector(3))`;
const row = {
  flag: true,
  small: -5,
  int: 7,
  big: '9223372036854775807',
  double: 0.1,
  amount: '12.5000',
  body: 'grüße \' " \\',
  data: Buffer.from([0, 255]),
  stamp: new Date('2024-07-01T10:30:00.123Z'),
  key: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  document: {a: [1, null]},
  numbers: [1, 2, 3],
  words: ['a', 'b,c', ''],
  embedding: pgvector.toSql([1, 2.5, -3]),
};
const [inserted] = await sql`INSERT INTO t ${sql(row)} RETURNING *`;
assert.deepEqual({...inserted}, {id: 1, ...row});
const [nulls] = await sql`INSERT INTO t (body) VALUES (${null}) RETURNING *`;
assert.deepEqual(Object.values(nulls), [2, ...Object.keys(row).map(() => null)]);

const many = [...Array(50).keys()].map((n) => ({int: n, body: `row ${n}`}));
const result = await sql`INSERT INTO t ${sql(many, 'int', 'body')}`;
assert.equal(result.count, 50);
assert.equal(result.command, 'INSERT');
assert.equal((await sql`SELECT id FROM t WHERE int IN ${sql([3, 4, 5])} AND body LIKE ${'row%'}`).count, 3);
assert.equal((await sql`SELECT id FROM t WHERE int = ANY(${[3, 4]}) AND body IS NOT NULL`).count, 2);
await sql`UPDATE t SET ${sql({body: 'changed'}, 'body')} WHERE id = 1`;
assert.deepEqual([...(await sql`SELECT body FROM t WHERE id = 1`.values())], [['changed']]);
const described = await sql`SELECT id, body FROM t WHERE id = ${1}`.describe();
assert.deepEqual(described.columns.map((column) => [column.name, column.type]), [['id', 23], ['body', 25]]);
assert.deepEqual(described.types, [23]);

const pipelined = await Promise.all([...Array(40).keys()].map((n) => sql`SELECT ${n}::int AS n`));
assert.deepEqual(pipelined.map(([found]) => found.n), [...Array(40).keys()]);

await assert.rejects(sql`INSERT INTO t (id) VALUES (1)`, (error) => error.code === '23505' && error.constraint_name === 't_pkey');
await assert.rejects(sql`SELECT * FROM missing`, {code: '42P01'});
await assert.rejects(sql.unsafe('SELEC'), {code: '42601'});

const total = await sql.begin(async (tx) => {
  await tx`INSERT INTO t (int, body) VALUES (1000, 'in transaction')`;
  await tx.savepoint((inner) => inner`INSERT INTO t (id) VALUES (1)`).catch((error) => assert.equal(error.code, '23505'));
  const [{count}] = await tx`SELECT count(*)::int FROM t`;
  return count;
});
assert.equal(total, 53);
await assert.rejects(sql.begin(async (tx) => {
  await tx`DELETE FROM t`;
  throw new Error('undo');
}), /undo/);
assert.equal((await sql`SELECT count(*)::int FROM t`)[0].count, 53);

let seen = 0;
await sql`SELECT * FROM generate_series(1, 1000) g`.cursor(100, (rows) => {
  seen += rows.length;
});
assert.equal(seen, 1000);
for await (const rows of sql`SELECT g FROM generate_series(1, 10) g`.cursor(4)) seen += rows.length;
assert.equal(seen, 1010);

await sql`CREATE TABLE c (id int, body text)`;
await pipeline(Readable.from(['1\tone\n', '2\t\\N\n']), await sql`COPY c FROM STDIN`.writable());
const chunks = [];
for await (const chunk of await sql`COPY c TO STDOUT`.readable()) chunks.push(chunk);
assert.equal(Buffer.concat(chunks).toString(), '1\tone\n2\t\\N\n');
const several = await sql`SELECT 1 AS a; SELECT 2 AS b`.simple();
assert.deepEqual(several.map((rows) => ({...rows[0]})), [{a: 1}, {b: 2}]);

await sql`CREATE TABLE items (id bigserial PRIMARY KEY, lang text, embedding vector(3))`;
const items = [
  {lang: 'de', embedding: pgvector.toSql([1, 0, 0])},
  {lang: 'en', embedding: pgvector.toSql([0.9, 0.1, 0])},
  {lang: 'de', embedding: pgvector.toSql([0, 0, 1])},
];
await sql`INSERT INTO items ${sql(items, 'lang', 'embedding')}`;
await sql`CREATE INDEX ON items USING hnsw (embedding vector_cosine_ops)`;
const query = pgvector.toSql([1, 0, 0]);
const near = await sql`SELECT id, embedding FROM items ORDER BY embedding <-> ${query} LIMIT 2`;
assert.deepEqual(near.map((found) => ({...found})), [{id: '1', embedding: '[1,0,0]'}, {id: '2', embedding: '[0.9,0.1,0]'}]);
const filtered = await sql`SELECT id FROM items WHERE lang = ${'de'} AND id <> ${1} ORDER BY embedding <=> ${query} LIMIT 1`;
assert.equal(filtered[0].id, '3');

const slow = sql`SELECT pg_sleep(20)`.execute();
setTimeout(() => slow.cancel(), 300);
await assert.rejects(slow, {code: '57014'});
await sql.end();
