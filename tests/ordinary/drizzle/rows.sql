INSERT INTO public.users VALUES
	('cfcd2084-95d5-65ef-66e7-dff9f98764da', 'U0@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.39+00'),
	('c4ca4238-a0b9-2382-0dcc-509a6f75849b', 'U1@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.397+00'),
	('c81e728d-9d4c-2f63-6f06-7f89cc14862c', 'U2@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.4+00'),
	('eccbc87e-4b5c-e2fe-2830-8fd9f2a7baf3', 'U3@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.402+00'),
	('a87ff679-a2f3-e71d-9181-a67b7542122c', 'U4@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.405+00'),
	('e4da3b7f-bbce-2345-d777-2b0674a318d5', 'U5@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.407+00'),
	('1679091c-5a88-0faf-6fb5-e6087eb1b2dc', 'U6@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.409+00'),
	('8f14e45f-ceea-167a-5a36-dedd4bea2543', 'U7@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.411+00'),
	('c9f0f895-fb98-ab91-59f5-1fd0297e236d', 'U8@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.413+00'),
	('45c48cce-2e2d-7fbd-ea1a-fc51c7c6ad26', 'U9@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.415+00'),
	('d3d94468-02a4-4259-755d-38e6d163e820', 'U10@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.417+00'),
	('6512bd43-d9ca-a6e0-2c99-0b0a82652dca', 'U11@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.418+00'),
	('c20ad4d7-6fe9-7759-aa27-a0c99bff6710', 'U12@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.419+00'),
	('c51ce410-c124-a10e-0db5-e4b97fc2af39', 'U13@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.42+00'),
	('aab32389-22bc-c25a-6f60-6eb525ffdc56', 'U14@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.421+00'),
	('9bf31c7f-f062-936a-96d3-c8bd1f8f2ff3', 'U15@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.421+00'),
	('c74d97b0-1eae-257e-44aa-9d5bade97baf', 'U16@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.422+00'),
	('70efdf2e-c9b0-8607-9795-c442636b55fb', 'U17@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.425+00'),
	('6f4922f4-5568-161a-8cdf-4ad2299f6d23', 'U18@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.428+00'),
	('1f0e3dad-9990-8345-f743-9f8ffabdffc4', 'U19@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.428+00'),
	('98f13708-2101-94c4-7568-7be6106a3b84', 'U20@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.429+00'),
	('3c59dc04-8e88-5024-3be8-079a5c74d079', 'U21@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.43+00'),
	('b6d767d2-f8ed-5d21-a44b-0e5886680cb9', 'U22@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.431+00'),
	('37693cfc-7480-49e4-5d87-b8c7d8b9aacd', 'U23@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.432+00'),
	('1ff1de77-4005-f8da-13f4-2943881c655f', 'U24@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.433+00'),
	('8e296a06-7a37-5633-70de-d05f5a3bf3ec', 'U25@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.433+00'),
	('4e732ced-3463-d06d-e0ca-9a15b6153677', 'U26@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.434+00'),
	('02e74f10-e032-7ad8-68d1-38f2b4fdd6f0', 'U27@example.org', 'admin', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.435+00'),
	('33e75ff0-9dd6-01bb-e69f-351039152189', 'U28@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.436+00'),
	('6ea9ab1b-aa0e-fb9e-1909-4440c317e21b', 'U29@example.org', 'user', NULL, '{"theme": "dark"}', '2026-11-26 10:56:23.437+00');
INSERT INTO audit.entries VALUES
	(1, 'cfcd2084-95d5-65ef-66e7-dff9f98764da', 'line one
line two'),
	(2, 'c4ca4238-a0b9-2382-0dcc-509a6f75849b', 'line one
line two'),
	(3, 'c81e728d-9d4c-2f63-6f06-7f89cc14862c', 'line one
line two'),
	(4, 'eccbc87e-4b5c-e2fe-2830-8fd9f2a7baf3', 'line one
line two'),
	(5, 'a87ff679-a2f3-e71d-9181-a67b7542122c', 'line one
line two'),
	(6, 'e4da3b7f-bbce-2345-d777-2b0674a318d5', 'line one
line two'),
	(7, '1679091c-5a88-0faf-6fb5-e6087eb1b2dc', 'line one
line two'),
	(8, '8f14e45f-ceea-167a-5a36-dedd4bea2543', 'line one
line two'),
	(9, 'c9f0f895-fb98-ab91-59f5-1fd0297e236d', 'line one
line two'),
	(10, '45c48cce-2e2d-7fbd-ea1a-fc51c7c6ad26', 'line one
line two'),
	(11, 'd3d94468-02a4-4259-755d-38e6d163e820', 'line one
line two'),
	(12, '6512bd43-d9ca-a6e0-2c99-0b0a82652dca', 'line one
line two'),
	(13, 'c20ad4d7-6fe9-7759-aa27-a0c99bff6710', 'line one
line two'),
	(14, 'c51ce410-c124-a10e-0db5-e4b97fc2af39', 'line one
line two'),
	(15, 'aab32389-22bc-c25a-6f60-6eb525ffdc56', 'line one
line two'),
	(16, '9bf31c7f-f062-936a-96d3-c8bd1f8f2ff3', 'line one
line two'),
	(17, 'c74d97b0-1eae-257e-44aa-9d5bade97baf', 'line one
line two'),
	(18, '70efdf2e-c9b0-8607-9795-c442636b55fb', 'line one
line two'),
	(19, '6f4922f4-5568-161a-8cdf-4ad2299f6d23', 'line one
line two'),
	(20, '1f0e3dad-9990-8345-f743-9f8ffabdffc4', 'line one
line two'),
	(21, '98f13708-2101-94c4-7568-7be6106a3b84', 'line one
line two'),
	(22, '3c59dc04-8e88-5024-3be8-079a5c74d079', 'line one
line two'),
	(23, 'b6d767d2-f8ed-5d21-a44b-0e5886680cb9', 'line one
line two'),
	(24, '37693cfc-7480-49e4-5d87-b8c7d8b9aacd', 'line one
line two'),
	(25, '1ff1de77-4005-f8da-13f4-2943881c655f', 'line one
line two'),
	(26, '8e296a06-7a37-5633-70de-d05f5a3bf3ec', 'line one
line two'),
	(27, '4e732ced-3463-d06d-e0ca-9a15b6153677', 'line one
line two'),
	(28, '02e74f10-e032-7ad8-68d1-38f2b4fdd6f0', 'line one
line two'),
	(29, '33e75ff0-9dd6-01bb-e69f-351039152189', 'line one
line two'),
	(30, '6ea9ab1b-aa0e-fb9e-1909-4440c317e21b', 'line one
line two');
INSERT INTO drizzle.__drizzle_migrations VALUES
	(1, '6ada1fe2cea7099b5f1a2601b72f7c45f22b861bd83f5c213157b09d45ecfb4c', 1795690582413);
INSERT INTO public.orders VALUES
	(1, 'cfcd2084-95d5-65ef-66e7-dff9f98764da', 'new', NULL, false),
	(2, 'c4ca4238-a0b9-2382-0dcc-509a6f75849b', 'paid', NULL, false),
	(3, 'c81e728d-9d4c-2f63-6f06-7f89cc14862c', 'sent', NULL, false),
	(4, 'eccbc87e-4b5c-e2fe-2830-8fd9f2a7baf3', 'it''s lost', NULL, false),
	(5, 'a87ff679-a2f3-e71d-9181-a67b7542122c', 'new', NULL, false),
	(6, 'e4da3b7f-bbce-2345-d777-2b0674a318d5', 'paid', NULL, false),
	(7, '1679091c-5a88-0faf-6fb5-e6087eb1b2dc', 'sent', NULL, false),
	(8, '8f14e45f-ceea-167a-5a36-dedd4bea2543', 'it''s lost', NULL, false),
	(9, 'c9f0f895-fb98-ab91-59f5-1fd0297e236d', 'new', NULL, false),
	(10, '45c48cce-2e2d-7fbd-ea1a-fc51c7c6ad26', 'paid', NULL, false),
	(11, 'd3d94468-02a4-4259-755d-38e6d163e820', 'sent', NULL, false),
	(12, '6512bd43-d9ca-a6e0-2c99-0b0a82652dca', 'it''s lost', NULL, false),
	(13, 'c20ad4d7-6fe9-7759-aa27-a0c99bff6710', 'new', NULL, false),
	(14, 'c51ce410-c124-a10e-0db5-e4b97fc2af39', 'paid', NULL, false),
	(15, 'aab32389-22bc-c25a-6f60-6eb525ffdc56', 'sent', NULL, false),
	(16, '9bf31c7f-f062-936a-96d3-c8bd1f8f2ff3', 'it''s lost', NULL, false),
	(17, 'c74d97b0-1eae-257e-44aa-9d5bade97baf', 'new', NULL, false),
	(18, '70efdf2e-c9b0-8607-9795-c442636b55fb', 'paid', NULL, false),
	(19, '6f4922f4-5568-161a-8cdf-4ad2299f6d23', 'sent', NULL, false),
	(20, '1f0e3dad-9990-8345-f743-9f8ffabdffc4', 'it''s lost', NULL, false),
	(21, '98f13708-2101-94c4-7568-7be6106a3b84', 'new', NULL, false),
	(22, '3c59dc04-8e88-5024-3be8-079a5c74d079', 'paid', NULL, false),
	(23, 'b6d767d2-f8ed-5d21-a44b-0e5886680cb9', 'sent', NULL, false),
	(24, '37693cfc-7480-49e4-5d87-b8c7d8b9aacd', 'it''s lost', NULL, false),
	(25, '1ff1de77-4005-f8da-13f4-2943881c655f', 'new', NULL, false),
	(26, '8e296a06-7a37-5633-70de-d05f5a3bf3ec', 'paid', NULL, false),
	(27, '4e732ced-3463-d06d-e0ca-9a15b6153677', 'sent', NULL, false),
	(28, '02e74f10-e032-7ad8-68d1-38f2b4fdd6f0', 'it''s lost', NULL, false),
	(29, '33e75ff0-9dd6-01bb-e69f-351039152189', 'new', NULL, false),
	(30, '6ea9ab1b-aa0e-fb9e-1909-4440c317e21b', 'paid', NULL, false);
INSERT INTO public.products OVERRIDING SYSTEM VALUE VALUES
	(1000, 'Käse 0', 0.00, DEFAULT, '{a,b}', 'A10'),
	(1001, 'Käse 1', 1.00, DEFAULT, '{a,b}', 'A11'),
	(1002, 'Käse 2', 2.00, DEFAULT, '{a,b}', 'A12'),
	(1003, 'Käse 3', 3.00, DEFAULT, '{a,b}', 'A13'),
	(1004, 'Käse 4', 4.00, DEFAULT, '{a,b}', 'A14'),
	(1005, 'Käse 5', 5.00, DEFAULT, '{a,b}', 'A15'),
	(1006, 'Käse 6', 6.00, DEFAULT, '{a,b}', 'A16'),
	(1007, 'Käse 7', 7.00, DEFAULT, '{a,b}', 'A17'),
	(1008, 'Käse 8', 8.00, DEFAULT, '{a,b}', 'A18'),
	(1009, 'Käse 9', 9.00, DEFAULT, '{a,b}', 'A19'),
	(1010, 'Käse 10', 10.00, DEFAULT, '{a,b}', 'A20'),
	(1011, 'Käse 11', 11.00, DEFAULT, '{a,b}', 'A21'),
	(1012, 'Käse 12', 12.00, DEFAULT, '{a,b}', 'A22'),
	(1013, 'Käse 13', 13.00, DEFAULT, '{a,b}', 'A23'),
	(1014, 'Käse 14', 14.00, DEFAULT, '{a,b}', 'A24'),
	(1015, 'Käse 15', 15.00, DEFAULT, '{a,b}', 'A25'),
	(1016, 'Käse 16', 16.00, DEFAULT, '{a,b}', 'A26'),
	(1017, 'Käse 17', 17.00, DEFAULT, '{a,b}', 'A27'),
	(1018, 'Käse 18', 18.00, DEFAULT, '{a,b}', 'A28'),
	(1019, 'Käse 19', 19.00, DEFAULT, '{a,b}', 'A29'),
	(1020, 'Käse 20', 20.00, DEFAULT, '{a,b}', 'A30'),
	(1021, 'Käse 21', 21.00, DEFAULT, '{a,b}', 'A31'),
	(1022, 'Käse 22', 22.00, DEFAULT, '{a,b}', 'A32'),
	(1023, 'Käse 23', 23.00, DEFAULT, '{a,b}', 'A33'),
	(1024, 'Käse 24', 24.00, DEFAULT, '{a,b}', 'A34'),
	(1025, 'Käse 25', 25.00, DEFAULT, '{a,b}', 'A35'),
	(1026, 'Käse 26', 26.00, DEFAULT, '{a,b}', 'A36'),
	(1027, 'Käse 27', 27.00, DEFAULT, '{a,b}', 'A37'),
	(1028, 'Käse 28', 28.00, DEFAULT, '{a,b}', 'A38'),
	(1029, 'Käse 29', 29.00, DEFAULT, '{a,b}', 'A39');
INSERT INTO public.order_lines VALUES
	(1, 1000, 2),
	(2, 1001, 2),
	(3, 1002, 2),
	(4, 1003, 2),
	(5, 1004, 2),
	(6, 1005, 2),
	(7, 1006, 2),
	(8, 1007, 2),
	(9, 1008, 2),
	(10, 1009, 2),
	(11, 1010, 2),
	(12, 1011, 2),
	(13, 1012, 2),
	(14, 1013, 2),
	(15, 1014, 2),
	(16, 1015, 2),
	(17, 1016, 2),
	(18, 1017, 2),
	(19, 1018, 2),
	(20, 1019, 2),
	(21, 1020, 2),
	(22, 1021, 2),
	(23, 1022, 2),
	(24, 1023, 2),
	(25, 1024, 2),
	(26, 1025, 2),
	(27, 1026, 2),
	(28, 1027, 2),
	(29, 1028, 2),
	(30, 1029, 2);
SELECT pg_catalog.setval('audit.entries_id_seq', 30, true);
SELECT pg_catalog.setval('drizzle.__drizzle_migrations_id_seq', 1, true);
SELECT pg_catalog.setval('public.orders_id_seq', 30, true);
SELECT pg_catalog.setval('public.products_id_seq', 1029, true);
