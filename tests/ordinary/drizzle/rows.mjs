// Rows through Drizzle's query builder would need its compiled schema; plain statements of node-postgres do.
import pg from "pg";

const client = new pg.Client();
await client.connect();
for (let n = 0; n < 30; n++) {
  const role = n % 3 ? "user" : "admin";
  const { rows: [user] } = await client.query(
    `insert into users (id, email, role) values (md5($1::text)::uuid, 'U' || $1 || '@example.org', $2) returning id`, [n, role]);
  await client.query(`insert into products (name, price, shelf, tags) values ($1, $2, $3, '{a,b}')`, [`Käse ${n}`, n, `A${10 + n}`]);
  const { rows: [order] } = await client.query(
    `insert into orders ("userId", status) values ($1, (array['new', 'paid', 'sent', 'it''s lost'])[1 + $2 % 4]::order_status) returning id`, [user.id, n]);
  await client.query(`insert into order_lines values ($1, 1000 + $2, 2)`, [order.id, n]);
  await client.query(`insert into audit.entries ("userId", what) values ($1, 'line one' || chr(10) || 'line two')`, [user.id]);
}
await client.query("refresh materialized view sales");
await client.end();
