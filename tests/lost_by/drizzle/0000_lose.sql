DROP TABLE "_cdc_users" CASCADE;--> statement-breakpoint
ALTER TABLE "persons" RENAME TO "people";--> statement-breakpoint
ALTER TABLE "users" DROP COLUMN "email";--> statement-breakpoint
ALTER TABLE "users" ALTER COLUMN "age" SET DATA TYPE integer;--> statement-breakpoint
DELETE FROM "logs" WHERE "id" <= 3;--> statement-breakpoint
TRUNCATE "notes";--> statement-breakpoint
CREATE TABLE "counters_new" ("id" integer PRIMARY KEY NOT NULL, "n" integer);--> statement-breakpoint
INSERT INTO "counters_new" SELECT "id", "n" FROM "counters";--> statement-breakpoint
DROP TABLE "counters";--> statement-breakpoint
ALTER TABLE "counters_new" RENAME TO "counters";--> statement-breakpoint
DROP SCHEMA "old" CASCADE;
