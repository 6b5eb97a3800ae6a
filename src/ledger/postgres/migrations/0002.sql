-- Whether something personal stands in a line: whoever looks for a person reads no other ones. Lines of before, and those of
-- a program that knows only the tables of before and is still running, are taken to be personal.

alter table auditshield_lines add column if not exists personal boolean not null default true;
