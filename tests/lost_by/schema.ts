// What `drizzle-kit push` makes the database like: it knows nothing of _cdc_users, logs and untouched.
import { integer, pgTable, text } from "drizzle-orm/pg-core";

export const users = pgTable("users", {
  id: integer().primaryKey(),
  name: text(),
  age: integer(),
});
export const persons = pgTable("persons", { id: integer().primaryKey(), name: text() });
export const counters = pgTable("counters", { id: integer().primaryKey(), n: integer() });
export const notes = pgTable("notes", { id: integer().primaryKey() });
