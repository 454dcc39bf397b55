CREATE SCHEMA IF NOT EXISTS "drizzle";

			CREATE TABLE IF NOT EXISTS "drizzle"."__drizzle_migrations" (
				id SERIAL PRIMARY KEY,
				hash text NOT NULL,
				created_at bigint
			)
		;
CREATE SCHEMA "audit";

CREATE TYPE "public"."order_status" AS ENUM('new', 'paid', 'sent', 'it''s lost');

CREATE TABLE "audit"."entries" (
	"id" serial PRIMARY KEY NOT NULL,
	"userId" uuid,
	"what" text NOT NULL
);

CREATE TABLE "order_lines" (
	"orderId" integer NOT NULL,
	"productId" integer NOT NULL,
	"quantity" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "order_lines_orderId_productId_pk" PRIMARY KEY("orderId","productId")
);

CREATE TABLE "orders" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"userId" uuid NOT NULL,
	"status" "order_status" DEFAULT 'new' NOT NULL,
	"due" date,
	"gift" boolean DEFAULT false NOT NULL
);

ALTER TABLE "orders" ENABLE ROW LEVEL SECURITY;

CREATE TABLE "products" (
	"id" integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "products_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1000 CACHE 1),
	"name" text NOT NULL,
	"price" numeric(10, 2) NOT NULL,
	"gross" numeric(12, 4) GENERATED ALWAYS AS (price * 1.19) STORED,
	"tags" text[] DEFAULT '{}'::text[] NOT NULL,
	"shelf" varchar(4),
	CONSTRAINT "products_name_shelf" UNIQUE("name","shelf"),
	CONSTRAINT "price_positive" CHECK ("products"."price" >= 0),
	CONSTRAINT "shelf_form" CHECK ("products"."shelf" ~ '^[A-Z][0-9]{2}$' or "products"."shelf" = any (array['none', 'all']))
);

CREATE TABLE "users" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"email" varchar(200) NOT NULL,
	"role" varchar(20) DEFAULT 'user' NOT NULL,
	"invitedBy" uuid,
	"profile" jsonb DEFAULT '{"theme":"dark"}'::jsonb,
	"createdAt" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "users_role" CHECK ("users"."role" in ('user', 'admin'))
);

ALTER TABLE "audit"."entries" ADD CONSTRAINT "entries_userId_users_id_fk" FOREIGN KEY ("userId") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;

ALTER TABLE "order_lines" ADD CONSTRAINT "order_lines_productId_products_id_fk" FOREIGN KEY ("productId") REFERENCES "public"."products"("id") ON DELETE restrict ON UPDATE cascade;

ALTER TABLE "order_lines" ADD CONSTRAINT "lines_order" FOREIGN KEY ("orderId") REFERENCES "public"."orders"("id") ON DELETE cascade ON UPDATE no action;

ALTER TABLE "orders" ADD CONSTRAINT "orders_userId_users_id_fk" FOREIGN KEY ("userId") REFERENCES "public"."users"("id") ON DELETE no action ON UPDATE no action;

ALTER TABLE "users" ADD CONSTRAINT "users_invitedBy_users_id_fk" FOREIGN KEY ("invitedBy") REFERENCES "public"."users"("id") ON DELETE set null ON UPDATE no action;

CREATE INDEX "orders_open" ON "orders" USING btree ("userId") WHERE "orders"."status" <> 'sent';

CREATE INDEX "products_tags" ON "products" USING gin ("tags");

CREATE UNIQUE INDEX "users_email_lower" ON "users" USING btree (lower("email"));

CREATE INDEX "users_admins" ON "users" USING btree ("createdAt" DESC NULLS LAST) WHERE "users"."role" in ('admin', 'owner');

CREATE VIEW "public"."open_orders" AS (select "orders"."id", "users"."email" from "orders" inner join "users" on "users"."id" = "orders"."userId" where "orders"."status" in ('new', 'paid'));

CREATE MATERIALIZED VIEW "public"."sales" AS (select "productId", sum("quantity") as "sold" from "order_lines" group by "order_lines"."productId");

CREATE POLICY "own orders" ON "orders" AS PERMISSIVE FOR SELECT TO public USING ("userId"::text = current_setting('app.user', true));

CREATE POLICY "no deletes of sent" ON "orders" AS RESTRICTIVE FOR DELETE TO public USING (status in ('new', 'paid'));
refresh materialized view sales;
