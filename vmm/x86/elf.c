// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loads an uncompressed kernel (vmlinux).  Its ELF entry is the physical
 * address of startup_64, which expects the same registers as the entry of a
 * bzImage.
 */
#include <elf.h>
#include <stdbool.h>
#include <string.h>

#include "kernel.h"
#include "layout.h"

/* Copies the header, because it may not be aligned in the file. */
static Elf64_Ehdr file_header(const struct blob *file)
{
	Elf64_Ehdr ehdr;

	memcpy(&ehdr, file->data, sizeof(ehdr));
	return ehdr;
}

static Elf64_Phdr program_header(const struct blob *file, const Elf64_Ehdr *ehdr, unsigned int i)
{
	Elf64_Phdr phdr;

	memcpy(&phdr, file->data + ehdr->e_phoff + i * sizeof(phdr), sizeof(phdr));
	return phdr;
}

const char *elf_check(const struct blob *file)
{
	bool kernel_addresses = false;
	Elf64_Ehdr ehdr;

	if (file->size < sizeof(ehdr))
		return "the file is truncated";
	ehdr = file_header(file);
	if (ehdr.e_ident[EI_CLASS] != ELFCLASS64 || ehdr.e_ident[EI_DATA] != ELFDATA2LSB ||
	    ehdr.e_machine != EM_X86_64)
		return "not an ELF file for x86-64";
	if (ehdr.e_type != ET_EXEC)
		return "not an executable ELF file, so not a vmlinux";
	if (ehdr.e_phentsize != sizeof(Elf64_Phdr) || !ehdr.e_phnum)
		return "the ELF file has no usable program headers";
	if (ehdr.e_phoff > file->size ||
	    file->size - ehdr.e_phoff < ehdr.e_phnum * sizeof(Elf64_Phdr))
		return "the file is truncated";
	for (unsigned int i = 0; i < ehdr.e_phnum; i++)
		kernel_addresses |= program_header(file, &ehdr, i).p_vaddr >> 63;
	return kernel_addresses ? NULL : "a program, but not a kernel";
}

static const char *load_segment(struct kernel *kernel, const Elf64_Phdr *phdr,
				const struct blob *file, const struct memory *memory)
{
	uint8_t *to;

	if (phdr->p_filesz > phdr->p_memsz)
		return "an ELF segment is larger in the file than in memory";
	if (phdr->p_offset > file->size || phdr->p_filesz > file->size - phdr->p_offset)
		return "the file is truncated";
	if (phdr->p_paddr < LAYOUT_HIGH)
		return "the load address of the kernel is below 1 MiB";
	to = memory_at(memory, phdr->p_paddr, phdr->p_memsz);
	if (!to || phdr->p_paddr >= MEMORY_HIGH_BASE)
		return "the guest's memory is too small for this kernel";

	memcpy(to, file->data + phdr->p_offset, phdr->p_filesz);
	memset(to + phdr->p_filesz, 0, phdr->p_memsz - phdr->p_filesz);
	if (phdr->p_paddr < kernel->start)
		kernel->start = phdr->p_paddr;
	if (phdr->p_paddr + phdr->p_memsz > kernel->end)
		kernel->end = phdr->p_paddr + phdr->p_memsz;
	return NULL;
}

const char *elf_load(struct kernel *kernel, const struct blob *file,
		     const struct memory *memory)
{
	Elf64_Ehdr ehdr = file_header(file);
	const char *error;

	kernel->start = UINT64_MAX;
	kernel->end = 0;
	for (unsigned int i = 0; i < ehdr.e_phnum; i++) {
		Elf64_Phdr phdr = program_header(file, &ehdr, i);

		if (phdr.p_type != PT_LOAD || !phdr.p_memsz)
			continue;
		error = load_segment(kernel, &phdr, file, memory);
		if (error)
			return error;
	}
	if (ehdr.e_entry < kernel->start || ehdr.e_entry >= kernel->end)
		return "the ELF entry is not a physical address within the kernel";
	kernel->entry = ehdr.e_entry;

	/* The fields of a bzImage header that the VMM or the kernel reads. */
	kernel->header = (struct setup_header){
		.boot_flag = 0xaa55,
		.header = 0x53726448,
		.version = 0x020c,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.cmdline_size = 2047,
	};
	return NULL;
}
