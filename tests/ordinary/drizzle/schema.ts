// What Drizzle's pages teach: enums, checks, partial and expression indexes, views, row security, a second schema.
import { sql } from "drizzle-orm";
import {
  type AnyPgColumn, bigserial, boolean, check, date, foreignKey, index, integer, jsonb, numeric, pgEnum,
  pgMaterializedView, pgPolicy, pgSchema, pgTable, pgView, primaryKey, serial, text, timestamp, unique, uniqueIndex,
  uuid, varchar,
} from "drizzle-orm/pg-core";

export const status = pgEnum("order_status", ["new", "paid", "sent", "it's lost"]);

export const users = pgTable("users", {
  id: uuid().primaryKey().defaultRandom(),
  email: varchar({ length: 200 }).notNull(),
  role: varchar({ length: 20, enum: ["user", "admin"] }).notNull().default("user"),
  invitedBy: uuid("invitedBy").references((): AnyPgColumn => users.id, { onDelete: "set null" }),
  profile: jsonb().$type<{ theme: string }>().default({ theme: "dark" }),
  createdAt: timestamp("createdAt", { withTimezone: true, precision: 3 }).notNull().defaultNow(),
}, (t) => [
  uniqueIndex("users_email_lower").on(sql`lower(${t.email})`),
  check("users_role", sql`${t.role} in ('user', 'admin')`),
  index("users_admins").on(t.createdAt.desc()).where(sql`${t.role} in ('admin', 'owner')`),
]);

export const products = pgTable("products", {
  id: integer().primaryKey().generatedAlwaysAsIdentity({ startWith: 1000 }),
  name: text().notNull(),
  price: numeric({ precision: 10, scale: 2 }).notNull(),
  gross: numeric({ precision: 12, scale: 4 }).generatedAlwaysAs(sql`price * 1.19`),
  tags: text().array().notNull().default(sql`'{}'::text[]`),
  shelf: varchar({ length: 4 }),
}, (t) => [
  check("price_positive", sql`${t.price} >= 0`),
  check("shelf_form", sql`${t.shelf} ~ '^[A-Z][0-9]{2}$' or ${t.shelf} = any (array['none', 'all'])`),
  unique("products_name_shelf").on(t.name, t.shelf),
  index("products_tags").using("gin", t.tags),
]);

export const orders = pgTable("orders", {
  id: bigserial({ mode: "number" }).primaryKey(),
  userId: uuid("userId").notNull().references(() => users.id),
  status: status().notNull().default("new"),
  due: date(),
  gift: boolean().notNull().default(false),
}, (t) => [
  index("orders_open").on(t.userId).where(sql`${t.status} <> 'sent'`),
  pgPolicy("own orders", { for: "select", to: "public", using: sql`"userId"::text = current_setting('app.user', true)` }),
  pgPolicy("no deletes of sent", { as: "restrictive", for: "delete", using: sql`status in ('new', 'paid')` }),
]);

export const lines = pgTable("order_lines", {
  orderId: integer("orderId").notNull(),
  productId: integer("productId").notNull().references(() => products.id, { onDelete: "restrict", onUpdate: "cascade" }),
  quantity: integer().notNull().default(1),
}, (t) => [
  primaryKey({ columns: [t.orderId, t.productId] }),
  foreignKey({ columns: [t.orderId], foreignColumns: [orders.id], name: "lines_order" }).onDelete("cascade"),
]);

export const openOrders = pgView("open_orders").as((qb) =>
  qb.select({ id: orders.id, email: users.email }).from(orders).innerJoin(users, sql`${users.id} = ${orders.userId}`)
    .where(sql`${orders.status} in ('new', 'paid')`));
export const sales = pgMaterializedView("sales").as((qb) =>
  qb.select({ productId: lines.productId, sold: sql<number>`sum(${lines.quantity})`.as("sold") }).from(lines).groupBy(lines.productId));

export const audit = pgSchema("audit");
export const entries = audit.table("entries", {
  id: serial().primaryKey(),
  userId: uuid("userId").references(() => users.id),
  what: text().notNull(),
});
