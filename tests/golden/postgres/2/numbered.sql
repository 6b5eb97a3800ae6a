select order_id from auditshield_receipts where year = $1 and place = $2
