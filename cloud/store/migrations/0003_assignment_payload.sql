-- breaking: false
-- The document of an assignment as it was printed when it was first handed out; null until then. A vehicle that gets other
-- bytes under a sequence that it knows takes it for an attack, so the bytes must not change with the version that prints them.
alter table assignments add column payload text;
