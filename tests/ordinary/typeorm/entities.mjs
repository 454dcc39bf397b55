// What TypeORM's pages teach, as EntitySchema: enums, checks, generated and uuid columns, closure tree, inheritance.
import { DataSource, EntitySchema } from "typeorm";

const Category = new EntitySchema({
  name: "Category",
  trees: [{ type: "closure-table" }],
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: "varchar", length: 60 } },
  relations: {
    parent: { type: "many-to-one", target: "Category", treeParent: true, nullable: true, inverseSide: "children" },
    children: { type: "one-to-many", target: "Category", treeChildren: true, inverseSide: "parent" },
  },
});

const Post = new EntitySchema({
  name: "Post",
  columns: {
    id: { type: "uuid", primary: true, generated: "uuid" },
    title: { type: "varchar", length: 255 },
    kind: { type: "enum", enum: ["text", "photo", "Quote's"], default: "text" },
    state: { type: "character varying", length: 12, default: "draft" },
    words: { type: "simple-array", nullable: true },
    place: { type: "point", nullable: true },
    fullTitle: { type: "text", generatedType: "STORED", asExpression: `"title" || ' (' || "state" || ')'` },
    createdAt: { type: "timestamptz", createDate: true },
    version: { type: "int", version: true },
  },
  relations: {
    categories: { type: "many-to-many", target: "Category", joinTable: true, cascade: true },
    author: { type: "many-to-one", target: "Author", onDelete: "CASCADE", nullable: false },
  },
  indices: [
    { name: "post_title_live", columns: ["title"], unique: true, where: `"state" in ('live', 'draft')` },
  ],
  checks: [
    { expression: `"state" in ('draft', 'live', 'gone')` },
    { expression: `length("title") between 1 and 200 and "title" not like ' %'` },
  ],
  exclusions: [{ expression: `USING gist ("place" WITH ~=) WHERE ("state" = 'live')` }],
});

const Author = new EntitySchema({
  name: "Author",
  tableName: "Author",
  columns: {
    id: { type: "bigint", primary: true, generated: "identity", generatedIdentity: "BY DEFAULT" },
    email: { type: "citext", unique: true },
    bio: { type: "jsonb", default: {} },
    balance: { type: "numeric", precision: 12, scale: 2, default: -1.5 },
  },
});

const source = new DataSource({
  type: "postgres",
  host: process.env.PGHOST, port: Number(process.env.PGPORT), username: process.env.PGUSER, database: process.env.PGDATABASE,
  uuidExtension: "pgcrypto", // its uuids come from gen_random_uuid(), which needs no extension since PostgreSQL 13
  installExtensions: false,
  entities: [Category, Post, Author],
});
await source.initialize();
await source.synchronize();
const trees = source.getTreeRepository("Category");
let parent = null;
for (let n = 0; n < 8; n++) parent = await trees.save({ name: `Category ${n}`, parent: n % 3 ? parent : null });
const authors = await source.getRepository("Author").save(
  [...Array(6).keys()].map((n) => ({ email: `A${n}@example.org`, bio: { text: "\\ \" ' é" } })));
const categories = await source.getRepository("Category").find();
await source.getRepository("Post").save([...Array(24).keys()].map((n) => ({
  title: `Post ${n}`, kind: ["text", "photo", "Quote's"][n % 3], state: ["draft", "live", "gone"][n % 3],
  words: ["a", "b,c"], place: { x: n, y: -n }, author: authors[n % 6], categories: categories.slice(0, n % 4),
})));
await source.destroy();
