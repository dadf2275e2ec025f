// node-postgres with pgvector-node: all four types as parameters and results, nulls, arrays, every operator, prepared, copied.
import assert from 'node:assert/strict';
import {pipeline} from 'node:stream/promises';
import {Readable} from 'node:stream';
import pg from 'pg';
import copy from 'pg-copy-streams';
import pgvector from 'pgvector/pg';
import {SparseVector} from 'pgvector';
import {bits, byDistance, distances, query, vectors} from './samples.js';

const client = new pg.Client();
await client.connect();
await pgvector.registerTypes(client);

const near = (found, wanted) => assert.ok(Math.abs(found - wanted) < 1e-6, `${found} is not ${wanted}`);

await client.query(`CREATE TABLE items (id int PRIMARY KEY, vector vector(3), halfvec halfvec(3), sparsevec sparsevec(3), bit bit(5),
  vectors vector(3)[], halfvecs halfvec[], sparsevecs sparsevec[], bits bit(5)[])`);
for (const [index, vector] of vectors.entries()) {
  const dense = pgvector.toSql(vector);
  const sparse = pgvector.toSql(new SparseVector(vector));
  const values = [index + 1, dense, dense, sparse, bits[index], [dense, null], [dense], [sparse], [bits[index], null]];
  await client.query({name: 'insert', text: 'INSERT INTO items VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)', values});
}
await client.query('INSERT INTO items VALUES ($1, $2, $3, $4, $5)', [4, null, null, null, null]);

const {rows, fields} = await client.query('SELECT id, vector, halfvec, sparsevec, bit FROM items ORDER BY id');
for (const [index, vector] of vectors.entries()) {
  const row = rows[index];
  assert.deepEqual([row.vector, row.halfvec, row.sparsevec.toArray(), row.bit], [vector, vector, vector, bits[index]]);
}
assert.deepEqual(Object.values(rows[3]), [4, null, null, null, null]);
const types = await client.query('SELECT typname, oid FROM pg_type WHERE oid = ANY($1)', [fields.map((field) => field.dataTypeID)]);
assert.deepEqual(types.rows.map((row) => row.typname).sort(), ['bit', 'halfvec', 'int4', 'sparsevec', 'vector']);
assert.equal(fields[4].dataTypeModifier, 5);
const arrays = await client.query('SELECT vectors::text[], halfvecs::text[], sparsevecs::text[], bits::text[] FROM items WHERE id = 2');
assert.deepEqual(Object.values(arrays.rows[0]), [['[0,2,0.5]', null], ['[0,2,0.5]'], ['{2:2,3:0.5}/3'], ['10011', null]]);
const raw = await client.query('SELECT vectors, sparsevecs FROM items WHERE id = 2');
assert.deepEqual(Object.values(raw.rows[0]), ['{"[0,2,0.5]",NULL}', '{"{2:2,3:0.5}/3"}']);

for (const kind of ['vector', 'halfvec', 'sparsevec']) {
  const target = pgvector.toSql(kind === 'sparsevec' ? new SparseVector(query) : query);
  for (const [operator, wanted] of Object.entries(distances)) {
    const text = `SELECT id, ${kind} ${operator} $1 AS d FROM items WHERE id < $2 ORDER BY ${kind} ${operator} $1 LIMIT 3`;
    const found = await client.query(text, [target, 4]);
    assert.deepEqual(found.rows.map((row) => row.id), byDistance(wanted), `${kind} ${operator}`);
    for (const row of found.rows) near(row.d, wanted[row.id - 1]);
  }
  for (const [operator, opclass] of [['<->', 'l2'], ['<=>', 'cosine'], ['<#>', 'ip'], ['<+>', 'l1']]) {
    await client.query(`CREATE INDEX ON items USING hnsw (${kind} ${kind}_${opclass}_ops)`);
    const found = await client.query(`SELECT id FROM items ORDER BY ${kind} ${operator} $1 LIMIT 1`, [target]);
    assert.equal(found.rows[0].id, byDistance(distances[operator])[0], `${kind} ${operator}`);
  }
}
for (const [operator, wanted] of [['<~>', [2, 2, 3]], ['<%>', [0.5, 0.5, 1]]]) {
  const found = await client.query(`SELECT bit ${operator} $1 AS d FROM items WHERE bit IS NOT NULL ORDER BY bit ${operator} $1, id`, ['10101']);
  assert.deepEqual(found.rows.map((row) => row.d), wanted);
}

await client.query('CREATE TABLE copied (id int, v vector(2), h halfvec(2), s sparsevec(2), b bit(2))');
await pipeline(
  Readable.from(['1\t[1,2]\t[3,4]\t{1:5}/2\t01\n', '2\t\\N\t\\N\t\\N\t\\N\n']),
  client.query(copy.from('COPY copied FROM STDIN')),
);
const out = [];
for await (const chunk of client.query(copy.to('COPY copied TO STDOUT WITH (FORMAT csv)'))) out.push(chunk);
assert.equal(Buffer.concat(out).toString(), '1,"[1,2]","[3,4]",{1:5}/2,01\n2,,,,\n');

for (const [text, code] of [
  ["INSERT INTO items (id, vector) VALUES (9, '[1,2]')", '22000'],
  ["INSERT INTO items (id, bit) VALUES (9, '11')", '22026'],
  ["SELECT '[1,2'::halfvec", '22P02'],
  ["SELECT '{1:1}/2'::sparsevec <-> '{1:1}/3'", '22000'],
]) {
  await assert.rejects(client.query(text), {code}, text);
}
await client.end();
