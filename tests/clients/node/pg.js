// node-postgres: parameters and results of every type in text and binary, prepared statements, cursors, COPY, pools, vectors.
import assert from 'node:assert/strict';
import {pipeline} from 'node:stream/promises';
import {Readable} from 'node:stream';
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import copy from 'pg-copy-streams';
import pgvector from 'pgvector/pg';

const client = new pg.Client();
await client.connect();
await pgvector.registerTypes(client);

const id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
const row = {
  flag: true,
  small: -32768,
  int: 2147483647,
  big: '-9223372036854775808',
  real: 1.5,
  double: 0.1,
  amount: '12345.6780',
  body: 'grüße \\ \' " \n🙂',
  name: 'short',
  data: Buffer.from([0, 1, 255]),
  stamp: new Date('2024-07-01T10:30:00.123Z'),
  key: id,
  document: {a: [1, null, {b: 'ü'}]},
  documents: {a: [1, null, {b: 'ü'}]},
  numbers: [1, null, 3],
  words: ['a', 'b,c', '', 'NULL', 'q"\\'],
  embedding: [1.5, -2, 0.25],
};
await client.query(`CREATE TABLE t (id serial PRIMARY KEY, flag boolean, small smallint, int integer, big bigint, real real,
  double float8, amount numeric(12,4), body text, name varchar(10), data bytea, stamp timestamptz, key uuid, document json,
  documents jsonb, numbers integer[], words text[], embedding vector(3))`);
const names = Object.keys(row);
const values = names.map((name) => (name === 'embedding' ? pgvector.toSql(row[name]) : row[name]));
const marks = names.map((_, index) => `$${index + 1}`).join(', ');
const inserted = await client.query(`INSERT INTO t (${names.join(', ')}) VALUES (${marks}) RETURNING *`, values);
assert.equal(inserted.command, 'INSERT');
assert.equal(inserted.rowCount, 1);
assert.deepEqual(inserted.rows[0], {id: 1, ...row});
await client.query(`INSERT INTO t (${names.join(', ')}) VALUES (${marks})`, names.map(() => null));
const empty = (await client.query('SELECT * FROM t WHERE id = 2')).rows[0];
assert.deepEqual(Object.values(empty), [2, ...names.map(() => null)]);

// The client reads binary results through UTF-8, so these values have bytes below 128 only.
const binary = await client.query({
  text: "SELECT true AS flag, 258::int2 AS small, 16909060 AS int, 2::real AS real, 2::float8 AS double, body FROM t WHERE id = $1",
  values: [1],
  binary: true,
});
assert.deepEqual(binary.rows[0], {flag: true, small: 258, int: 16909060, real: 2, double: 2, body: row.body});
assert.ok(binary.fields.every((field) => field.format === 'binary'));
const rows = await client.query({text: 'SELECT 1 AS a, 2 AS a', rowMode: 'array'});
assert.deepEqual(rows.rows, [[1, 2]]);

for (let n = 0; n < 3; n++) {
  const named = await client.query({name: 'double', text: 'SELECT $1::int * 2 AS n', values: [n]});
  assert.equal(named.rows[0].n, n * 2);
}
const several = await client.query('SELECT 1 AS n; SELECT 2 AS n');
assert.deepEqual(several.map((result) => result.rows[0].n), [1, 2]);

await client.query('BEGIN');
await client.query('INSERT INTO t (body) VALUES ($1)', ['kept']);
await client.query('SAVEPOINT s');
await assert.rejects(client.query('INSERT INTO t (id) VALUES (1)'), (error) => {
  assert.equal(error.code, '23505');
  assert.equal(error.constraint, 't_pkey');
  assert.equal(error.table, 't');
  assert.equal(error.detail, 'Key (id)=(1) already exists.');
  return true;
});
await assert.rejects(client.query('SELECT 1'), {code: '25P02'});
await client.query('ROLLBACK TO SAVEPOINT s');
await client.query('COMMIT');
assert.equal((await client.query("SELECT count(*)::int AS n FROM t WHERE body = 'kept'")).rows[0].n, 1);
for (const [text, code] of [['SELECT * FROM missing', '42P01'], ['SELECT missing', '42703'], ['SELEC', '42601'], ['SELECT 1 / 0', '22012']]) {
  await assert.rejects(client.query(text), {code});
  await assert.rejects(client.query(text, []), {code});
}

await client.query('CREATE TABLE n AS SELECT g::int AS id FROM generate_series(1, 1000) g');
const cursor = client.query(new Cursor('SELECT id FROM n WHERE id > $1 ORDER BY id', [10]));
assert.deepEqual((await cursor.read(3)).map((found) => found.id), [11, 12, 13]);
assert.equal((await cursor.read(5000)).length, 987);
assert.equal((await cursor.read(1)).length, 0);
await cursor.close();
let sum = 0;
for await (const found of client.query(new QueryStream('SELECT id FROM n', [], {batchSize: 64}))) sum += found.id;
assert.equal(sum, 500500);

await client.query('CREATE TABLE c (id int, body text)');
await pipeline(Readable.from(['1\tone\n2\t', '\\N\n']), client.query(copy.from('COPY c FROM STDIN')));
const out = [];
for await (const chunk of client.query(copy.to('COPY c TO STDOUT WITH (FORMAT csv, HEADER)'))) out.push(chunk);
assert.equal(Buffer.concat(out).toString(), 'id,body\n1,one\n2,\n');

await client.query('CREATE TABLE items (id bigserial PRIMARY KEY, lang text, embedding vector(3))');
for (const [lang, embedding] of [['de', [1, 0, 0]], ['en', [0.9, 0.1, 0]], ['de', [0, 0, 1]], ['en', null]]) {
  await client.query('INSERT INTO items (lang, embedding) VALUES ($1, $2)', [lang, embedding && pgvector.toSql(embedding)]);
}
await client.query('CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)');
const query = pgvector.toSql([1, 0, 0]);
const near = await client.query('SELECT id, embedding FROM items ORDER BY embedding <-> $1 LIMIT 2', [query]);
assert.deepEqual(near.rows, [{id: '1', embedding: [1, 0, 0]}, {id: '2', embedding: [0.9, 0.1, 0]}]);
const filtered = await client.query('SELECT id, embedding <=> $1 AS d FROM items WHERE lang = $2 ORDER BY d LIMIT 1', [query, 'de']);
assert.deepEqual(filtered.rows, [{id: '1', d: 0}]);

const notices = [];
client.on('notice', (notice) => notices.push(notice.message));
await client.query('DROP TABLE IF EXISTS missing');
assert.deepEqual(notices, ['table "missing" does not exist, skipping']);
await client.end();

const pool = new pg.Pool({max: 3});
const answers = await Promise.all([...Array(20).keys()].map((n) => pool.query('SELECT $1::int AS n', [n])));
assert.deepEqual(answers.map((answer) => answer.rows[0].n), [...Array(20).keys()]);
await pool.end();
