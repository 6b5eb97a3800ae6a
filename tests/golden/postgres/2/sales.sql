select hour, currency, count(*), sum(amount)::int8 from auditshield_receipts
 where hour >= $1 and hour <= $2
 group by hour, currency
 order by hour, currency
