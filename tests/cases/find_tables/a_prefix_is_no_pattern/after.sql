select n from found where n <> 2;
