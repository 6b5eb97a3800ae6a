insert into auditshield_series (year, last)
select s.year, s.last from unnest($1::int8[], $2::int8[]) as s (year, last)
on conflict (year) do update set last = excluded.last
