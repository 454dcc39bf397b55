
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TYPE level AS ENUM ('low', 'high');

CREATE TABLE person (
	id SERIAL NOT NULL, 
	name VARCHAR(50) NOT NULL, 
	role VARCHAR(7) NOT NULL, 
	level level DEFAULT 'low' NOT NULL, 
	manager_id INTEGER, 
	made TIMESTAMP WITHOUT TIME ZONE DEFAULT now() NOT NULL, 
	born DATE, 
	email VARCHAR(120) NOT NULL, 
	upper_name VARCHAR(50) GENERATED ALWAYS AS (upper(name)) STORED NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT born_since CHECK (born IS NULL OR born >= '1900-01-01'), 
	CONSTRAINT email_has_at CHECK (email LIKE '%%@%%' AND length(name) BETWEEN 1 AND 50), 
	FOREIGN KEY(manager_id) REFERENCES person (id) DEFERRABLE INITIALLY DEFERRED, 
	UNIQUE (email), 
	CONSTRAINT person_role CHECK (role IN ('user', 'admin', 'Guest''s'))
);
COMMENT ON TABLE person IS 'Who works here';
CREATE INDEX person_name_lower ON person (lower(name)) WHERE role IN ('user', 'admin');

CREATE TABLE team (
	id INTEGER GENERATED ALWAYS AS IDENTITY (START WITH 100), 
	title VARCHAR(80) NOT NULL, 
	tags VARCHAR(20)[] DEFAULT '{}' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_team_title UNIQUE (title)
);
COMMENT ON COLUMN team.title IS 'as it is spoken';

CREATE TABLE "Invoice" (
	id UUID DEFAULT gen_random_uuid() NOT NULL, 
	"TeamId" INTEGER NOT NULL, 
	amount NUMERIC(12, 2) NOT NULL, 
	tax NUMERIC(12, 2) GENERATED ALWAYS AS (amount * 0.19) STORED NOT NULL, 
	state VARCHAR(9) DEFAULT 'open' NOT NULL, 
	due INTERVAL DEFAULT '14 days' NOT NULL, 
	body JSONB DEFAULT '{}' NOT NULL, 
	words TSVECTOR GENERATED ALWAYS AS (to_tsvector('english', body ->> 'note')) STORED, 
	PRIMARY KEY (id), 
	CONSTRAINT one_open EXCLUDE USING btree ("TeamId" WITH =, state WITH =) WHERE (state = 'open'), 
	CONSTRAINT state_word CHECK (state IN ('open', 'paid', 'void')), 
	CONSTRAINT amount_positive CHECK (amount > 0 AND amount <> -1), 
	FOREIGN KEY("TeamId") REFERENCES team (id)
);
CREATE INDEX invoice_state ON "Invoice" (state) INCLUDE (amount) WHERE state <> 'void';
CREATE INDEX invoice_words ON "Invoice" USING gin (words);

CREATE TABLE membership (
	person_id INTEGER NOT NULL, 
	team_id INTEGER NOT NULL, 
	PRIMARY KEY (person_id, team_id), 
	FOREIGN KEY(person_id) REFERENCES person (id) ON DELETE CASCADE, 
	FOREIGN KEY(team_id) REFERENCES team (id)
);
