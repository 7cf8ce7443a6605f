"""A small source in which everything tells whose it is, and everything personal can be found again in a file's bytes.

Three people own rows: texts of the first hold `OWNER-A`, of the others `OWNER-B` and `OWNER-C`. What is personal is in
`PERSONAL`, and was written into free text, too.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Mapping
from importlib.resources import files

import psycopg
from psycopg import sql

#: Owners by their marker.
OWNERS = {"A": "manager@example.com", "B": "manager2@example.com", "C": "operator@example.com"}
#: What must not leave plain where personal data is masked: of each owner, and of nobody in particular.
PERSONAL = {
    "A": ("Zoraida Quintessa", "+12025550171", "zoraida.q@example.net", "rec-a-secret"),
    "B": ("Balthasar Umbrella", "+13035550182", "balthasar.u@example.net", "rec-b-secret"),
    "C": ("Ottilie Winterbourne", "+14045550193", "ottilie.w@example.net", "rec-c-secret"),
    "": ("anon.ymous@example.net", "4111111111111111"),
}
#: What each policy leaves of these.
SHOWN = {"Zoraida Quintessa": "Z***", "+12025550171": "+1******0171", "zoraida.q@example.net": "z***@example.net"}

_USERS = {
    **dict.fromkeys(OWNERS.values(), "campaign_manager"),
    "operator@example.com": "operator",
    "analyst@example.com": "analyst",
    "compliance@example.com": "compliance",
    "admin@example.com": "admin",
}

_SHARED = """
INSERT INTO teams (name) VALUES ('North');
UPDATE users SET team_id = (SELECT id FROM teams);
INSERT INTO locations (name, country) VALUES ('Lisbon', 'PT');
INSERT INTO categories (name) VALUES ('Apartments');
INSERT INTO lead_sources (name) VALUES ('Listings');
INSERT INTO source_runs (source_id, status, started_at, ended_at)
SELECT id, 'succeeded', '2026-01-01Z', '2026-01-01 00:01Z' FROM lead_sources;
INSERT INTO automation_runs (kind, name, status, started_at, ended_at)
VALUES ('reply', 'First answer', 'succeeded', '2026-01-01Z', '2026-01-01 00:01Z');
INSERT INTO app_audit_log (at, actor_id, entity_type, entity_id, action, detail)
SELECT '2026-01-01Z', id, 'user', 'x', 'role_change', '{"to": "admin"}' FROM users WHERE role = 'admin';
INSERT INTO events (event, distinct_id, timestamp, properties)
VALUES ('feature_used', 'user-1', '2026-01-01Z',
    '{"feature": "export", "note": "write to anon.ymous@example.net", "card": 4111111111111111}');
"""

_OWNED = """
INSERT INTO campaigns (id, name, owner_id, assistant_used, status, created_at)
SELECT md5({marker})::uuid, 'Campaign ' || {marker}, id, 'Ava', 'active', '2026-01-01Z' FROM users
WHERE email = {email};
INSERT INTO contacts (id, campaign_id, external_contact_id, name, business_name, phone, email, outcome, created_at,
    last_attempt_at, completed_at)
SELECT md5('contact' || {marker} || n)::uuid, md5({marker})::uuid, {marker} || n, {name}, 'Firm ' || {marker}, {phone},
    {address}, 'completed', '2026-01-01Z', '2026-01-02Z', '2026-01-02Z'
FROM generate_series(1, 3) AS n;
INSERT INTO calls (contact_id, status, started_at, ended_at, ended_reason, cost_usd, recording_url, transcript_json)
SELECT id, 'completed', '2026-01-02Z', '2026-01-02 00:01Z', {marker}, 0.1, 'https://r.example.com/' || {recording},
    jsonb_build_object('text', {marker} || ': call ' || {phone} || E'\\nor ' || {address})
FROM contacts WHERE campaign_id = md5({marker})::uuid;
INSERT INTO survey_answers (contact_id, question, answer)
SELECT id, 1, {marker} || ' ' || {address} FROM contacts WHERE campaign_id = md5({marker})::uuid;
INSERT INTO leads (owner_id, source_id, location_id, category_id, title, description, price, email, phone, url,
    created_at)
SELECT (SELECT id FROM users WHERE email = {email}), (SELECT id FROM lead_sources), (SELECT id FROM locations),
    (SELECT id FROM categories), 'Flat of ' || {marker}, 'Call ' || {phone} || ' or write to ' || {address}, 950,
    {address}, {phone}, 'https://l.example.com/' || {marker}, '2026-01-01Z'
FROM generate_series(1, 3);
INSERT INTO experiments (id, name, owner_id, status)
SELECT md5('experiment' || {marker})::uuid, 'Experiment ' || {marker}, id, 'running' FROM users WHERE email = {email};
INSERT INTO variants (experiment_id, name, is_control)
VALUES (md5('experiment' || {marker})::uuid, {marker} || ' control', true),
    (md5('experiment' || {marker})::uuid, {marker} || ' other', false);
INSERT INTO assignments (experiment_id, variant_id, distinct_id, assigned_at)
SELECT experiment_id, id, {marker} || name, '2026-01-01Z' FROM variants
WHERE experiment_id = md5('experiment' || {marker})::uuid;
INSERT INTO metrics (assignment_id, metric, value)
SELECT id, 'retention', 1 FROM assignments WHERE experiment_id = md5('experiment' || {marker})::uuid;
INSERT INTO feature_flags (key, created_by) SELECT {marker}, id FROM users WHERE email = {email};
"""


def fill(url: str) -> None:
    """Makes the reference tables and fills them."""
    with psycopg.connect(url) as connection:
        connection.execute((files("export_pipeline.embedded") / "schema.sql").read_bytes())
        for email, role in _USERS.items():
            connection.execute(
                "INSERT INTO users (email, username, role) VALUES (%s, %s, %s)", (email, email.partition("@")[0], role)
            )
        connection.execute(_SHARED)
        for marker, email in OWNERS.items():
            name, phone, address, recording = PERSONAL[marker]
            values = {"marker": f"OWNER-{marker}", "email": email, "name": name, "phone": phone}
            values |= {"address": address, "recording": recording}
            literals = {key: sql.Literal(value) for key, value in values.items()}
            connection.execute(sql.SQL(_OWNED).format(**literals))


def unpacked(data: bytes, extension: str) -> bytes:
    """All bytes that a program finds in a file: unzipped, of Parquet and Avro the values, of a PDF its text and its
    streams."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return b"\n".join(unpacked(archive.read(name), name) for name in archive.namelist())
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if extension == "avro":
        import fastavro

        return str(list(fastavro.reader(io.BytesIO(data)))).encode() + data
    if extension == "parquet":
        from pyarrow import parquet

        return str(parquet.read_table(io.BytesIO(data)).to_pylist()).encode() + data
    if extension == "pdf":
        import pypdfium2

        document = pypdfium2.PdfDocument(data)
        return "\n".join(page.get_textpage().get_text_range() for page in document).encode() + _streams(data)
    return data


def _streams(data: bytes) -> bytes:
    found = []
    for part in data.split(b"stream\n")[1:]:
        try:
            found.append(zlib.decompress(part))
        except zlib.error:
            continue
    return b"\n".join(found)


def leaks(data: bytes, values: Mapping[str, tuple[str, ...]], *owners: str) -> list[str]:
    """Which of the values are in the bytes, of these owners."""
    return [value for owner in owners for value in values[owner] if value.encode() in data]
