-- Ten seconds further ahead than may be is no statement that waited (it would have been ended): the clock was set back.
-- $1 what for, $2 what one permit costs, $3 how far ahead may be paid for, both in microseconds; $4 how many are wanted.
insert into auditshield_quotas (purpose, asked_us, granted, spent_us)
values ($1, (extract(epoch from now()) * 1000000)::int8, $4::int8,
        (extract(epoch from now()) * 1000000)::int8 + $2::int8 * $4::int8)
on conflict (purpose) do update
   set asked_us = excluded.asked_us,
       granted = least(excluded.granted,
           floor(greatest(excluded.asked_us + $3::int8
               - greatest(auditshield_quotas.spent_us, excluded.asked_us), 0)::float8 / $2::float8)::int8),
       spent_us = case
               when auditshield_quotas.spent_us > excluded.asked_us + $3::int8 + 10000000 then excluded.asked_us + $3::int8
               else greatest(auditshield_quotas.spent_us, excluded.asked_us)
           end + $2::int8 * least(excluded.granted,
           floor(greatest(excluded.asked_us + $3::int8
               - greatest(auditshield_quotas.spent_us, excluded.asked_us), 0)::float8 / $2::float8)::int8)
returning granted, greatest(spent_us + $2::int8 - $3::int8 - asked_us, 0)
