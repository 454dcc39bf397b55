import { defineConfig } from "drizzle-kit";

const { PGHOST: host, PGPORT: port, PGUSER: user, PGDATABASE: database } = process.env;
export default defineConfig({
  dialect: "postgresql",
  schema: "./schema.ts",
  out: "./migrations",
  dbCredentials: { host, port: Number(port), user, database, ssl: false },
});
