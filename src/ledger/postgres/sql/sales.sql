select day, currency, count(*), sum(amount)::int8 from auditshield_receipts
 where day >= $1 and day <= $2
 group by day, currency
 order by day, currency
