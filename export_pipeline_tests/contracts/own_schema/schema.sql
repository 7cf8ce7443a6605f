-- A source that was never made for us: names with capitals, umlauts, spaces and hyphens, keys of several columns, its
-- own types, times without a zone, and views. Only `users` is as we want it, as a view of their own table.

CREATE SCHEMA "Außendienst";
SET search_path = "Außendienst", public;

CREATE TYPE "Auftragsstatus" AS ENUM ('offen', 'geliefert', 'storniert');
CREATE DOMAIN betrag AS numeric(12, 4) CHECK (VALUE >= 0);
CREATE DOMAIN "Telefonnummer" AS text CHECK (VALUE LIKE '+%');

CREATE TABLE "Mitarbeiter" (
    "PersNr"  char(6) PRIMARY KEY,
    "Name"    varchar(80) NOT NULL,
    "E-Mail"  text NOT NULL UNIQUE,
    "Stelle"  text NOT NULL
);
CREATE TABLE "Kunde" (
    "Mandant"   smallint NOT NULL,
    "Kunden-Nr" integer NOT NULL,
    "Käufer"    varchar(80) NOT NULL,
    "Straße"    text,
    "Telefon"   "Telefonnummer",
    "Betreuer"  char(6) NOT NULL REFERENCES "Mitarbeiter",
    PRIMARY KEY ("Mandant", "Kunden-Nr")
);
CREATE TABLE "Auftrag" (
    "Mandant"     smallint NOT NULL,
    "Auftrags-Nr" integer NOT NULL,
    "Kunden-Nr"   integer NOT NULL,
    "Status"      "Auftragsstatus" NOT NULL,
    "Summe"       betrag NOT NULL,
    "Rabatt"      real,
    "Schlagworte" text[] NOT NULL DEFAULT '{}',
    "Details"     jsonb,
    "Bestellt am" timestamp NOT NULL,
    "Liefertag"   date,
    PRIMARY KEY ("Mandant", "Auftrags-Nr"),
    FOREIGN KEY ("Mandant", "Kunden-Nr") REFERENCES "Kunde"
);
CREATE VIEW "Aufträge mit Kunden" AS
SELECT a.*, k."Käufer", k."Straße", k."Telefon", k."Betreuer"
FROM "Auftrag" AS a JOIN "Kunde" AS k USING ("Mandant", "Kunden-Nr");

CREATE VIEW public.users AS
SELECT
    "PersNr" AS id, "E-Mail" AS email, "Name" AS username,
    CASE "Stelle" WHEN 'Vertrieb' THEN 'campaign_manager' WHEN 'Controlling' THEN 'analyst' ELSE 'admin' END AS role
FROM "Mitarbeiter";

INSERT INTO "Mitarbeiter" VALUES
    ('P00001', 'Jörg Größe', 'joerg@example.com', 'Vertrieb'),
    ('P00002', 'Ägidius Öhm', 'aegidius@example.com', 'Vertrieb'),
    ('P00003', 'Inés Çelik', 'ines@example.com', 'Controlling'),
    ('P00004', 'Leitung', 'leitung@example.com', 'Leitung');
INSERT INTO "Kunde" VALUES
    (1, 10, 'Kaufhaus Löwe', 'Große Straße 1', '+4315550171', 'P00001'),
    (2, 10, 'Bäckerei "Süß"', NULL, '+4315550172', 'P00001'),
    (1, 11, 'Fremdkunde Übel', 'Fremde Gasse 2', '+4315550199', 'P00002');
-- The two own customers take turns with the other's; each clerk's orders are of every state.
INSERT INTO "Auftrag"
SELECT
    k."Mandant", n * 10 + k."Mandant" + CASE k."Betreuer" WHEN 'P00002' THEN 5 ELSE 0 END, k."Kunden-Nr",
    (enum_range(NULL::"Auftragsstatus"))[1 + n % 3], n * 12345.6789 / 10, (ARRAY[0.1, 0.25, 0.3, NULL])[1 + n % 4],
    CASE n % 2 WHEN 0 THEN ARRAY['eilig', 'süß, "sauer"'] ELSE '{}' END,
    CASE WHEN n % 5 > 0 THEN jsonb_build_object('Menge', n, 'Anmerkung', 'Rückruf: ' || k."Telefon") END,
    '2026-03-29 01:30'::timestamp + n * interval '1 hour', CASE WHEN n % 3 = 1 THEN '2026-04-01'::date + n END
FROM "Kunde" AS k CROSS JOIN generate_series(1, 24) AS n;
