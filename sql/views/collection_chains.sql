-- The children of CHAINED collections, in search order.
-- column parent: the chain
-- column position: place in the chain; lower is searched first
-- column child: a collection the chain searches
SELECT p.name AS parent, l.position, c.name AS child
FROM registry.collection_chain l
JOIN registry.collection p ON p.collection_id = l.parent
JOIN registry.collection c ON c.collection_id = l.child
