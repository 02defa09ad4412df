CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE document (
	id TEXT NOT NULL,
	state TEXT NOT NULL,
	hotfolder TEXT NOT NULL,
	name TEXT NOT NULL,
	path BLOB NOT NULL,
	media_type TEXT NOT NULL,
	size BIGINT NOT NULL,
	secrecy TEXT NOT NULL,
	priority INTEGER NOT NULL,
	pipeline TEXT NOT NULL,
	stages JSON NOT NULL,
	copies INTEGER NOT NULL,
	position INTEGER NOT NULL,
	running TEXT,
	lane TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	postponed INTEGER NOT NULL,
	due VARCHAR(32),
	code TEXT,
	reason TEXT,
	hint TEXT,
	received VARCHAR(32) NOT NULL,
	changed VARCHAR(32) NOT NULL,
	sealed_at VARCHAR(32),
	safe_at VARCHAR(32),
	object_key TEXT,
	object_version INTEGER,
	inventory_sha512 TEXT,
	pages INTEGER, origin TEXT DEFAULT '' NOT NULL, dossier TEXT DEFAULT '' NOT NULL, given JSON, collation TEXT DEFAULT '' NOT NULL, owner TEXT DEFAULT '' NOT NULL, master TEXT, review TEXT,
	PRIMARY KEY (id)
);
CREATE INDEX document_due ON document (lane, due) WHERE due IS NOT NULL AND running IS NULL;
CREATE INDEX document_running ON document (running) WHERE running IS NOT NULL;
CREATE INDEX document_state ON document (state, hotfolder);
CREATE TABLE ledger (
	sequence INTEGER NOT NULL,
	entry TEXT NOT NULL,
	hash TEXT NOT NULL,
	kind TEXT NOT NULL,
	document TEXT,
	at VARCHAR(32) NOT NULL,
	PRIMARY KEY (sequence),
	UNIQUE (hash)
);
CREATE INDEX ledger_document ON ledger (document);
CREATE TABLE outbox (
	sequence INTEGER NOT NULL,
	name TEXT NOT NULL,
	document TEXT,
	hotfolder TEXT,
	at VARCHAR(32) NOT NULL,
	facts JSON NOT NULL,
	PRIMARY KEY (sequence)
);
CREATE TABLE reader (
	name TEXT NOT NULL,
	sequence INTEGER NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE artifact (
	id INTEGER NOT NULL,
	document TEXT NOT NULL,
	role TEXT NOT NULL,
	name TEXT NOT NULL,
	media_type TEXT NOT NULL,
	size BIGINT NOT NULL,
	sha512 TEXT NOT NULL,
	sha256 TEXT NOT NULL,
	path TEXT NOT NULL,
	step TEXT,
	current BOOLEAN NOT NULL,
	main BOOLEAN NOT NULL,
	PRIMARY KEY (id),
	FOREIGN KEY(document) REFERENCES document (id)
);
CREATE INDEX artifact_document ON artifact (document);
CREATE INDEX artifact_sha512 ON artifact (sha512);
CREATE TABLE replica (
	document TEXT NOT NULL,
	target TEXT NOT NULL,
	"key" TEXT NOT NULL,
	inventory_sha512 TEXT NOT NULL,
	files INTEGER NOT NULL,
	size BIGINT NOT NULL,
	verified VARCHAR(32) NOT NULL,
	PRIMARY KEY (document, target),
	FOREIGN KEY(document) REFERENCES document (id)
);
CREATE TABLE step (
	id TEXT NOT NULL,
	document TEXT NOT NULL,
	position INTEGER NOT NULL,
	stage TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	version TEXT NOT NULL,
	distribution TEXT NOT NULL,
	options_digest TEXT NOT NULL,
	started VARCHAR(32) NOT NULL,
	ended VARCHAR(32),
	ending TEXT,
	code TEXT,
	message TEXT,
	hint TEXT,
	facts JSON,
	tools JSON,
	notes JSON,
	wall TEXT,
	cpu TEXT,
	peak_memory BIGINT, reviews JSON, worked_on TEXT,
	PRIMARY KEY (id),
	FOREIGN KEY(document) REFERENCES document (id)
);
CREATE INDEX step_document ON step (document, position);
CREATE VIRTUAL TABLE words USING fts5(document UNINDEXED, name, facts, body, tokenize = 'unicode61 remove_diacritics 2');
CREATE INDEX document_line ON document (lane, origin, priority, position, due) WHERE due IS NOT NULL AND running IS NULL;
CREATE INDEX document_dossier ON document (dossier) WHERE dossier != '';
CREATE INDEX document_master ON document (master) WHERE master IS NOT NULL;
CREATE TABLE "arrival" (
	id INTEGER NOT NULL,
	hotfolder TEXT NOT NULL,
	path BLOB NOT NULL,
	name TEXT NOT NULL,
	state TEXT NOT NULL,
	code TEXT,
	reason TEXT,
	present BOOLEAN NOT NULL,
	device TEXT NOT NULL,
	inode TEXT NOT NULL,
	size TEXT NOT NULL,
	mtime_ns TEXT NOT NULL,
	sha256 TEXT,
	document TEXT,
	first_seen VARCHAR(32) NOT NULL,
	ended VARCHAR(32),
	origin TEXT DEFAULT ('') NOT NULL,
	became TEXT,
	PRIMARY KEY (id),
	FOREIGN KEY(document) REFERENCES document (id)
);
CREATE UNIQUE INDEX arrival_present ON arrival (hotfolder, path) WHERE present = 1;
CREATE INDEX arrival_document ON arrival (document);
CREATE INDEX arrival_state ON arrival (state, hotfolder);
CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
CREATE TRIGGER ledger_in_order BEFORE INSERT ON ledger
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM ledger)
    OR EXISTS (SELECT 1 FROM ledger WHERE hash = NEW.hash)
BEGIN
    SELECT RAISE(ABORT, 'the ledger is append-only');
END;
INSERT INTO alembic_version VALUES ('0007');
