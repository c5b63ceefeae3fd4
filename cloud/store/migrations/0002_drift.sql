-- breaking: false
-- What a vehicle says is no longer as it was when its stack was ready, from its signed reports.

alter table vehicles add column drift jsonb not null default '[]';
create index vehicles_drift on vehicles (id) where drift <> '[]'::jsonb;

-- Kinds of drift that an event `drifted` is about.
alter table timeline add column drift text[] not null default '{}';
