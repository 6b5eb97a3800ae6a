select year, place from auditshield_receipts where order_id = $1
